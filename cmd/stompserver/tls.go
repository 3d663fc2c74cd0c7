package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

func newTLSCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tls",
		Short: "Make a certificate for trials",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("tls needs a word more: self-signed")
			}
			return fmt.Errorf("tls %s is not known: it takes self-signed", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // Args lets nothing pass
	}
	var names []string
	var days int
	self := &cobra.Command{
		Use:   "self-signed [DIR]",
		Short: "Write server.pem and server.key",
		Long: `Write a certificate that signs itself, server.pem, and its private key, server.key,
for trials. Clients have to be told to trust the certificate, or not to look. DIR is the
current directory, and is made if it is missing. Files that are there are not replaced.`,
		Args: words(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if days < 1 || days > 36500 {
				return &exitError{exitUsage, fmt.Errorf("--days: %d is not between 1 and 36500", days)}
			}
			return selfSigned(g, dir, names, days)
		},
	}
	self.Flags().StringArrayVar(&names, "name", nil, "a `name` or address of the server (default localhost, 127.0.0.1, ::1 and this machine's name)")
	self.Flags().IntVar(&days, "days", 365, "`days` until it ends")
	self.Flags().BoolVar(&g.Quiet, "quiet", g.Quiet, "print errors only")
	cmd.AddCommand(self)
	return cmd
}

// selfSigned writes the pair.
func selfSigned(g *globals, dir string, names []string, days int) error {
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1", "::1"}
		if host, err := os.Hostname(); err == nil {
			names = append(names, host)
		}
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0], Organization: []string{"stompserver trial"}},
		NotBefore:    time.Now().Add(-time.Hour), // a client's clock may be late
		NotAfter:     time.Now().AddDate(0, 0, days),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &exitError{exitIO, fmt.Errorf("cannot make %s: %w", dir, fileCause(err))}
	}
	certFile, keyFile := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	if err := writePEM(keyFile, 0o600, "PRIVATE KEY", secret); err != nil {
		return &exitError{exitIO, err}
	}
	if err := writePEM(certFile, 0o644, "CERTIFICATE", cert); err != nil {
		_ = os.Remove(keyFile) // which was not there before
		return &exitError{exitIO, err}
	}
	if !g.Quiet {
		fmt.Fprintf(g.Stdout, "wrote %s and %s, good until %s; start with --tls-cert %s --tls-key %s\n",
			certFile, keyFile, c.NotAfter.Format(time.DateOnly), certFile, keyFile)
	}
	return nil
}

// writePEM writes a file that must not be there.
func writePEM(name string, mode os.FileMode, kind string, der []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("cannot write %s: it is there already; remove it, or name another directory", name)
	case err != nil:
		return fmt.Errorf("cannot write %s: %w", name, fileCause(err))
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}
