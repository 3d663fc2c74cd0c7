package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
)

// maxProxyV1 is how long a header of version 1 may be, its CR and LF included.
const maxProxyV1 = 107

// ErrProxy is returned for a header that is none.
var ErrProxy = errors.New("transport: the PROXY header is malformed")

// ReadProxy reads the header of a proxy that b begins with, of the kind that Sniff told. Size is
// how many bytes it has, 0 if b does not hold all of it, of at most limit bytes. Source is whom
// the proxy speaks for, nil if it speaks for itself, as it does to see whether the server is there.
func ReadProxy(b []byte, kind Kind, limit int) (source net.Addr, size int, err error) {
	if kind == ProxyV1 {
		if size = bytes.IndexByte(b, '\n') + 1; size > maxProxyV1 || size == 0 && len(b) >= maxProxyV1 {
			return nil, 0, ErrProxy
		}
	} else if len(b) >= 16 {
		if size = 16 + int(binary.BigEndian.Uint16(b[14:])); size > limit {
			return nil, 0, ErrProxy
		}
	}
	if size == 0 || len(b) < size {
		return nil, 0, nil
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b[:size]), max(size, 16)))
	if err != nil {
		return nil, 0, ErrProxy
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return nil, size, nil
	}
	return h.SourceAddr, size, nil
}
