package destination

import "strings"

// A virtual host has destinations of its own, and its clients and its broker know no others: their
// names do not tell of it. Only where the queues of all are kept together do they: there the queue
// /queue/a of the virtual host shop is
//
//	/queue/$vhost/shop/queue/a
//
// with %2F for a slash, and %25 for a percent sign, in the name of the virtual host. Clients can
// name nothing that begins with /queue/$, and the names of the default virtual host are stored as
// they are.
const hostedPrefix = QueuePrefix + "$vhost/"

var (
	hostEscapes   = strings.NewReplacer("%", "%25", "/", "%2F")
	hostUnescapes = strings.NewReplacer("%25", "%", "%2F", "/")
)

// HostedPrefix is what the stored names of the queues of a virtual host begin with; that of the
// default one, "", is empty.
func HostedPrefix(host string) string {
	if host == "" {
		return ""
	}
	return hostedPrefix + hostEscapes.Replace(host)
}

// IsHosted reports whether a stored name is reserved for virtual hosts.
func IsHosted(stored string) bool { return strings.HasPrefix(stored, hostedPrefix) }

// Unhosted takes a stored name apart. Host is empty, and name is stored, if it is of the default
// virtual host, or of none that there could be.
func Unhosted(stored string) (host, name string) {
	rest, ok := strings.CutPrefix(stored, hostedPrefix)
	if !ok {
		return "", stored
	}
	end := strings.IndexByte(rest, '/')
	if end <= 0 {
		return "", stored
	}
	host, name = hostUnescapes.Replace(rest[:end]), rest[end:]
	if HostedPrefix(host)+name != stored {
		return "", stored
	}
	return host, name
}
