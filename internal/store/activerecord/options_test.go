//go:build unix

package activerecord_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/internal/store/activerecord"
)

// certificates writes ca.pem, cert.pem and key.pem into dir, for everybody to read.
func certificates(t testing.TB, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	made := func(subject string, ca bool, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: subject}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{subject},
		}
		if ca {
			c.KeyUsage |= x509.KeyUsageCertSign
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		name := map[bool]string{true: "ca", false: "cert"}[ca]
		write(name+".pem", "CERTIFICATE", der)
		if !ca {
			write("key.pem", "PRIVATE KEY", secret)
		}
		return c, key
	}
	ca, key := made("ca.test", true, nil, nil)
	made("db.test", false, ca, key)
}

// encrypted connects as one who must show a certificate.
func encrypted(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{"CREATE USER tls@localhost REQUIRE X509", "GRANT ALL ON *.* TO tls@localhost"} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	strangers := t.TempDir()
	certificates(t, strangers)
	for _, tt := range []struct{ yml, want string }{
		{"", "Access denied"},
		{"sslca: DIR/ca.pem", "Access denied"},
		{"sslca: DIR/ca.pem\nsslcert: DIR/cert.pem\nsslkey: DIR/key.pem\nssl_mode: verify_ca", ""},
		{"sslcert: DIR/cert.pem\nsslkey: DIR/key.pem\nssl_mode: required", ""},
		{"sslca: " + strangers + "/ca.pem\nsslcert: DIR/cert.pem\nsslkey: DIR/key.pem\nssl_mode: verify_ca", "certificate signed by unknown authority"},
		{"sslca: DIR/ca.pem\nsslcert: DIR/cert.pem\nsslkey: DIR/key.pem\nssl_mode: verify_identity", "localhost"}, // it is of db.test
		{"sslca: DIR/key.pem", "holds no certificate"},
		{"sslca: none.pem", "none.pem: no such file"},
		{"sslcert: DIR/cert.pem", "sslcert and sslkey"},
		{"ssl_mode: perhaps", `ssl_mode: "perhaps" is not`},
	} {
		file := filepath.Join(t.TempDir(), "database.yml")
		text := fmt.Sprintf("adapter: mysql2\ndatabase: %s\nhost: localhost\nsocket: %s\nusername: tls\n%s\n", cfg.Database.Database, cfg.Database.Socket, strings.ReplaceAll(tt.yml, "DIR", s.Dir))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := activerecord.ReadDatabaseYML(file, "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := activerecord.Open(activerecord.Config{Database: at})
		if err == nil {
			closeIt(t, b)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.yml, err, tt.want)
		}
	}
}

// schemas are places of their own in a database.
func schemas(t *testing.T, s *server) {
	cfg := s.database(t, t.TempDir())
	db, err := sql.Open(s.Driver, strings.Replace(s.DSN, "dbname=postgres", "dbname="+cfg.Database.Database, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stores := map[string]*activerecord.Store{}
	for _, name := range []string{"one", "two"} {
		if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
			t.Fatal(err)
		}
		cfg.Database.SchemaSearchPath = name + ", public"
		stores[name] = open(t, cfg)
		write(t, stores[name], text(t, "/queue/a", 1, "of "+name))
	}
	for name, b := range stores {
		if got, want := bodies(t, b, "/queue/a"), "1:of "+name; got != want {
			t.Errorf("it holds %s, want %s", got, want)
		}
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM " + name + ".ar_messages").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s holds %d rows, %v", name, n, err)
		}
		closeIt(t, b)
	}
}
