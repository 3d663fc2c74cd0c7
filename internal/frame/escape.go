package frame

// AppendEscaped appends b to dst with the escapes of version v ("Value Encoding" in STOMP
// 1.1 and 1.2). 1.0 has none: there LF and CR, which would end the line, are left out. In
// 1.1 a CR has no escape and is left out.
func AppendEscaped(dst, b []byte, v Version) []byte {
	for _, c := range b {
		switch {
		case c == '\n' && v >= V11:
			dst = append(dst, '\\', 'n')
		case c == '\r' && v >= V12:
			dst = append(dst, '\\', 'r')
		case c == '\n' || c == '\r':
		case c == ':' && v >= V11:
			dst = append(dst, '\\', 'c')
		case c == '\\' && v >= V11:
			dst = append(dst, '\\', '\\')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
