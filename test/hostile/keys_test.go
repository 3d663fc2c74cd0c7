package hostile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Keys are those a client of TLS 1.3 writes with, so that it can write what libraries do not.
type keys struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
}

// newKeys makes a handshake on c, and takes over from the library.
func newKeys(c net.Conn) (*keys, error) {
	var log bytes.Buffer
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &log})
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	if suite := t.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, fmt.Errorf("the suite %s is not known here", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				return nil, err
			}
			k := &keys{secret: secret}
			return k, k.derive()
		}
	}
	return nil, fmt.Errorf("no secret in %q", log.String())
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1).
func (k *keys) expand(label string, n int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(6+len(label)))
	info = append(info, "tls13 "+label+"\x00"...)
	return hkdf.Expand(sha256.New, k.secret, string(info), n)
}

func (k *keys) derive() error {
	key, err := k.expand("key", 16)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	k.iv, err = k.expand("iv", 12)
	return err
}

// update is a KeyUpdate, the first record of its keys, which it ends.
func (k *keys) update(answer byte) []byte {
	plain := []byte{24, 0, 0, 1, answer, 22}
	head := []byte{23, 3, 3, 0, byte(len(plain) + k.aead.Overhead())}
	record := k.aead.Seal(head, k.iv, plain, head)
	var err error
	if k.secret, err = k.expand("traffic upd", 32); err == nil {
		err = k.derive()
	}
	if err != nil {
		panic(err)
	}
	return record
}

// openssl runs it, and has it ask for a renegotiation.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader("R\n")
	out, _ := cmd.CombinedOutput()
	return string(out)
}
