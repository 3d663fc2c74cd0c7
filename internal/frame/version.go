package frame

// A Version is a version of the STOMP protocol.
type Version uint8

// The versions spoken, oldest first, so that they compare by age.
const (
	V10 Version = iota // STOMP 1.0: no escapes, header values are trimmed
	V11                // STOMP 1.1: escapes \n \c \\
	V12                // STOMP 1.2: escapes \r \n \c \\, lines may end in CR LF
)

// String spells the version as the headers accept-version and version do: "1.2".
func (v Version) String() string {
	switch v {
	case V10:
		return "1.0"
	case V11:
		return "1.1"
	default:
		return "1.2"
	}
}
