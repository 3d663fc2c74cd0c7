package frame

// A Field is one header line. Decoded, both are views into the decoder's buffer.
type Field struct {
	Name, Value []byte
}

// A Header is the list of a frame's header fields in the order they came.
type Header []Field

// Get returns the value of the first field called name (STOMP 1.2, "Repeated Header
// Entries": the first counts) and whether there is one. Names are case-sensitive.
func (h Header) Get(name string) ([]byte, bool) {
	for i := range h {
		if string(h[i].Name) == name {
			return h[i].Value, true
		}
	}
	return nil, false
}

// Value is Get for callers to whom a missing field is as good as an empty one.
func (h Header) Value(name string) string {
	v, _ := h.Get(name)
	return string(v)
}

// Add appends a field. The strings are copied.
func (h *Header) Add(name, value string) {
	*h = append(*h, Field{Name: []byte(name), Value: []byte(value)})
}
