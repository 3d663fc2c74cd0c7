package websocket

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// HeadEnd is the index behind the empty line that ends the head of an HTTP request, -1 if b
// does not hold it yet.
func HeadEnd(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	return -1
}

// ReadRequest reads the head of a request.
func ReadRequest(head []byte) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), 512))
}

// Wants reports whether r asks for a WebSocket.
func Wants(r *http.Request) bool {
	return has(r.Header["Upgrade"], "websocket") && has(r.Header["Connection"], "upgrade")
}

// An Agreement is a connection that was opened.
type Agreement struct {
	Protocol string // the sub-protocol, "" for none
	Deflate  bool   // messages may be compressed
	Response []byte // what to send to the client first
}

// A Refusal says why a request opens nothing.
type Refusal struct {
	Status int
	Reason string      // for people
	Header http.Header // further header fields of the answer
}

// Accept answers a request that Wants a WebSocket (RFC 6455, section 4.2). It takes the first
// of protocols that the client offers; a client that offers none gets none.
func Accept(r *http.Request, protocols []string) (Agreement, *Refusal) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	switch {
	case r.Method != http.MethodGet:
		return Agreement{}, &Refusal{Status: http.StatusMethodNotAllowed, Reason: "A WebSocket is opened by GET.", Header: http.Header{"Allow": {"GET"}}}
	case !r.ProtoAtLeast(1, 1):
		return Agreement{}, &Refusal{Status: http.StatusBadRequest, Reason: "A WebSocket is opened by HTTP/1.1."}
	case !slices.Contains(fields(r.Header["Sec-Websocket-Version"]), "13"):
		return Agreement{}, &Refusal{Status: http.StatusUpgradeRequired, Reason: "This server speaks version 13 of WebSocket.", Header: http.Header{"Sec-WebSocket-Version": {"13"}}}
	case err != nil || len(key) != 16 || len(r.Header["Sec-Websocket-Key"]) != 1:
		return Agreement{}, &Refusal{Status: http.StatusBadRequest, Reason: "Sec-WebSocket-Key is not one key of 16 bytes in base64."}
	}
	var a Agreement
	offered := fields(r.Header["Sec-Websocket-Protocol"])
	for _, p := range protocols {
		if slices.Contains(offered, p) {
			a.Protocol = p
			break
		}
	}
	if len(offered) > 0 && a.Protocol == "" {
		return Agreement{}, &Refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("None of the offered sub-protocols is known; they are here: %s. Or offer none.", strings.Join(protocols, ", "))}
	}
	a.Deflate = deflates(r.Header["Sec-Websocket-Extensions"])
	out := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + acceptOf(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key"))) + "\r\n"
	if a.Protocol != "" {
		out += "Sec-WebSocket-Protocol: " + a.Protocol + "\r\n"
	}
	if a.Deflate {
		out += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	a.Response = []byte(out + "\r\n")
	return a, nil
}

// acceptOf is how a server shows that it has read the key (RFC 6455, section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// deflates reports whether one of the extensions offered is permessage-deflate as it can be
// given: with a window of 32 KiB, and none kept from message to message (RFC 7692, section 7.1).
func deflates(headers []string) bool {
	for _, offer := range fields(headers) {
		parts := strings.Split(offer, ";")
		if strings.TrimSpace(parts[0]) != "permessage-deflate" {
			continue
		}
		fits := true
		for i, p := range parts[1:] {
			name, value, valued := strings.Cut(strings.TrimSpace(p), "=")
			value = strings.Trim(value, `"`)
			switch name {
			case "server_no_context_takeover", "client_no_context_takeover":
				fits = fits && !valued
			case "client_max_window_bits":
				fits = fits && (!valued || bits(value))
			case "server_max_window_bits":
				fits = fits && value == "15"
			default:
				fits = false
			}
			for _, other := range parts[1 : 1+i] {
				n, _, _ := strings.Cut(strings.TrimSpace(other), "=")
				fits = fits && n != name
			}
		}
		if fits {
			return true
		}
	}
	return false
}

func bits(v string) bool {
	switch v {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// fields are the parts of a header that is a list.
func fields(lines []string) []string {
	var all []string
	for _, l := range lines {
		for p := range strings.SplitSeq(l, ",") {
			if p = strings.TrimSpace(p); p != "" {
				all = append(all, p)
			}
		}
	}
	return all
}

func has(lines []string, word string) bool {
	return slices.ContainsFunc(fields(lines), func(p string) bool { return strings.EqualFold(p, word) })
}
