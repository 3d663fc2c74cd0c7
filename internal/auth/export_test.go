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
