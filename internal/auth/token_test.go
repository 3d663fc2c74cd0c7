package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"stompserver/internal/auth"
)

var secret = []byte("a secret of more than thirty-two bytes")

func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(more jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "joe", "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range more {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

func openTokens(t *testing.T, c auth.TokenConfig) *auth.Tokens {
	t.Helper()
	tokens, err := c.OpenTokens()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	return tokens
}

func TestTokensOfKeys(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := publicPEM(t, r.Public())
	tokens := openTokens(t, auth.TokenConfig{
		Keys:   []string{file(t, rsaPEM), file(t, publicPEM(t, e.Public())), file(t, publicPEM(t, d.Public())), file(t, append(secret, '\n'))},
		Issuer: "us", Audience: "stomp", Roles: "realm.roles", Prefix: "stomp.",
	})
	ours := func(more jwt.MapClaims) jwt.MapClaims {
		c := claims(jwt.MapClaims{"iss": "us", "aud": []string{"x", "stomp"}, "realm": map[string]any{"roles": []string{"stomp.a", "admin", "stomp.b"}}})
		for name, v := range more {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
		return c
	}
	for name, text := range map[string]string{
		"RS256": sign(t, jwt.SigningMethodRS256, r, ours(nil), nil), "PS512": sign(t, jwt.SigningMethodPS512, r, ours(nil), nil),
		"ES256": sign(t, jwt.SigningMethodES256, e, ours(nil), nil), "EdDSA": sign(t, jwt.SigningMethodEdDSA, d, ours(nil), nil),
		"HS256": sign(t, jwt.SigningMethodHS256, secret, ours(nil), nil),
	} {
		id, err := tokens.Authenticate(t.Context(), "", text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !auth.IsToken(text) || id.Name != "joe" || id.Listed || time.Until(id.Expires) < 59*time.Minute || !slices.Equal(id.Grant.Roles, []string{auth.NoRole, "a", "b"}) {
			t.Errorf("%s: %+v", name, id)
		}
	}
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	past, soon := time.Now().Add(-time.Minute).Unix(), time.Now().Add(time.Minute).Unix()
	whole := sign(t, jwt.SigningMethodRS256, r, ours(nil), nil)
	parts := strings.Split(whole, ".")
	for name, text := range map[string]string{
		"unsigned":                     sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, ours(nil), nil),
		"signed with the public key":   sign(t, jwt.SigningMethodHS256, rsaPEM, ours(nil), nil),
		"another key":                  sign(t, jwt.SigningMethodRS256, other, ours(nil), nil),
		"another secret":               sign(t, jwt.SigningMethodHS256, []byte("x"), ours(nil), nil),
		"no secret":                    sign(t, jwt.SigningMethodHS256, []byte{}, ours(nil), nil),
		"expired":                      sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"exp": past}), nil),
		"without an end":               sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"exp": nil}), nil),
		"not yet":                      sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"nbf": soon}), nil),
		"of others":                    sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"iss": "them"}), nil),
		"for others":                   sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"aud": "x"}), nil),
		"of nobody":                    sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"sub": nil}), nil),
		"a name that is none":          sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"sub": "a\nb"}), nil),
		"a name that is no text":       sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"sub": 5}), nil),
		"other claims":                 parts[0] + "." + strings.Split(sign(t, jwt.SigningMethodRS256, other, ours(jwt.MapClaims{"sub": "boss"}), nil), ".")[1] + "." + parts[2],
		"cut":                          whole[:len(whole)-4],
		"nothing":                      "eyJ..",
		"long":                         "eyJ" + strings.Repeat("a", 1<<20) + "..",
		"with a key of its own (jwk)":  sign(t, jwt.SigningMethodRS256, other, ours(nil), map[string]any{"jwk": map[string]any{"kty": "RSA"}}),
		"with a key elsewhere (jku)":   sign(t, jwt.SigningMethodRS256, other, ours(nil), map[string]any{"jku": "http://127.0.0.1/"}),
		"critical header unknown here": sign(t, jwt.SigningMethodRS256, other, ours(nil), map[string]any{"crit": []string{"x"}}),
	} {
		if id, err := tokens.Authenticate(t.Context(), "joe", text); !errors.Is(err, auth.ErrDenied) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	if id, err := tokens.Authenticate(t.Context(), "", sign(t, jwt.SigningMethodRS256, r, ours(jwt.MapClaims{"realm": nil}), nil)); err != nil || !slices.Equal(id.Grant.Roles, []string{auth.NoRole}) {
		t.Errorf("without roles: %+v, %v", id, err)
	}
}

// TestTokensOfASet: a key set is fetched, again when a token names a key that came later, and a
// server that is away denies nobody for good.
func TestTokensOfASet(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k1"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	fetched := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fetched++; fetched == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(set)
	}))
	t.Cleanup(srv.Close)
	tokens := openTokens(t, auth.TokenConfig{JWKS: srv.URL})
	text := sign(t, jwt.SigningMethodES256, key, claims(nil), map[string]any{"kid": "k1"})
	if id, err := tokens.Authenticate(t.Context(), "null", text); err != nil || id.Name != "joe" || len(id.Grant.Roles) > 0 {
		t.Errorf("%+v, %v", id, err)
	}
	for name, text := range map[string]string{
		"another name": sign(t, jwt.SigningMethodES256, key, claims(nil), map[string]any{"kid": "k2"}),
		"no name":      sign(t, jwt.SigningMethodES256, key, claims(nil), nil),
		"a secret":     sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"kid": "k1"}),
	} {
		if id, err := tokens.Authenticate(t.Context(), "", text); !errors.Is(err, auth.ErrDenied) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	if fetched > 3 {
		t.Errorf("fetched %d times", fetched)
	}
}

func TestBadKeysOfTokens(t *testing.T) {
	d, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(d)
	if err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"has at least 32 bytes, this one has 5": []byte("short\n"),
		"it is no whole PEM":                    publicPEM(t, d.Public())[:60],
		"it is a PRIVATE KEY":                   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if _, err := (auth.TokenConfig{Keys: []string{file(t, data)}}).OpenTokens(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := (auth.TokenConfig{Keys: []string{"/nowhere"}}).OpenTokens(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestSeveral(t *testing.T) {
	path := file(t, []byte("joe:eyJ.a.b\njane:pw\n"))
	p, err := auth.OpenPasswd(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	s := auth.Several{Passwd: p}
	if _, err := s.Authenticate(context.Background(), "joe", "eyJ.a.b"); err != nil {
		t.Error("a passcode that looks like a token, where there are none:", err)
	}
	s.Tokens = openTokens(t, auth.TokenConfig{Keys: []string{file(t, secret)}})
	if _, err := s.Authenticate(context.Background(), "joe", "eyJ.a.b"); !errors.Is(err, auth.ErrDenied) {
		t.Error("a passcode that looks like a token:", err)
	}
	if id, err := s.Authenticate(context.Background(), "jane", "pw"); err != nil || !id.Listed || !s.Lists("jane") || s.Lists("john") {
		t.Errorf("%+v, %v", id, err)
	}
}

// FuzzToken: no token panics, and none that was not signed logs in.
func FuzzToken(f *testing.F) {
	path := filepath.Join(f.TempDir(), "key")
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		f.Fatal(err)
	}
	tokens, err := auth.TokenConfig{Keys: []string{path}, Roles: "a.b"}.OpenTokens()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJib3NzIn0.")
	f.Add("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib3NzIiwiZXhwIjo5OTk5OTk5OTk5fQ.x")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := tokens.Authenticate(t.Context(), "", text); err == nil {
			t.Errorf("%q logs %+v in", text, id)
		}
	})
}
