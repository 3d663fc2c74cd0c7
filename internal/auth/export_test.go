package auth

// HoldSlots takes every slot for computing a hash, until release is called.
func (p *Passwd) HoldSlots() (release func()) {
	n := cap(p.slots)
	for range n {
		p.slots <- struct{}{}
	}
	return func() {
		for range n {
			<-p.slots
		}
	}
}

// Fill puts a login into a template.
func Fill(template string, escape func(string) string, login string) string {
	return fill(template, escape, login, "")
}

// Askable reports whether a directory may be asked about a login.
func Askable(login string) bool { return askable(login) }
