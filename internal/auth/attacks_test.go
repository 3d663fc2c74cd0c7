package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"

	"stompserver/internal/auth"
)

// forge puts a token together of any parts, signed with a secret.
func forge(head, body string, key []byte) string {
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString([]byte(head)) + "." + b64.EncodeToString([]byte(body))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + b64.EncodeToString(mac.Sum(nil))
}

// TestForgedTokens has what is known to have fooled one implementation or another (RFC 8725,
// section 2).
func TestForgedTokens(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64 // of whom a token names as the one to ask
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	jwk, err := jwkset.NewJWKFromKey(r.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k1"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	sets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(sets.Close)
	rsaPEM, ecPEM := publicPEM(t, r.Public()), publicPEM(t, e.Public())
	der, err := x509.MarshalPKIXPublicKey(r.Public())
	if err != nil {
		t.Fatal(err)
	}
	files := openTokens(t, auth.TokenConfig{Keys: []string{file(t, rsaPEM), file(t, ecPEM)}})
	ofSet := openTokens(t, auth.TokenConfig{JWKS: sets.URL})
	shared := openTokens(t, auth.TokenConfig{Keys: []string{file(t, secret)}})
	body := fmt.Sprintf(`{"sub":"boss","exp":%d}`, time.Now().Add(time.Hour).Unix())

	refused := make(map[string]string)
	for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `""`, `null`, `0`, `["RS256"]`, `"HS256 "`, `"hs256"`, `"RS256"`, `"HS1"`} {
		head := `{"alg":` + alg + `,"typ":"JWT","kid":"k1"}`
		refused["alg "+alg] = forge(head, body, nil)
		refused["alg "+alg+", with no signature"] = strings.Join(strings.Split(forge(head, body, nil), ".")[:2], ".") + "."
	}
	refused["no alg"] = forge(`{"typ":"JWT"}`, body, secret)
	for name, key := range map[string][]byte{"PEM": rsaPEM, "PEM without the end of its line": []byte(strings.TrimSpace(string(rsaPEM))), "DER": der, "modulus": r.N.Bytes(), "PEM of the other": ecPEM, "nothing": {}} {
		refused["a secret that is the public key: "+name] = forge(`{"alg":"HS256","kid":"k1"}`, body, key)
	}
	for _, kid := range []string{`"../../../../dev/null"`, `"/dev/null"`, `"' OR 1=1 --"`, `"k1\u0000"`, `"K1"`, `7`, `["k1"]`, `null`, `"` + strings.Repeat("k", 9000) + `"`, `"` + elsewhere.URL + `"`} {
		refused[fmt.Sprintf("kid %.30s", kid)] = forge(`{"alg":"HS256","kid":`+kid+`}`, body, nil)
	}
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ownJWK, err := jwkset.NewJWKFromKey(own.Public(), jwkset.JWKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	boss := jwt.MapClaims{"sub": "boss", "exp": time.Now().Add(time.Hour).Unix()}
	for name, head := range map[string]map[string]any{
		"a key of its own":                 {"jwk": ownJWK.Marshal(), "kid": "k1"},
		"a set of its own":                 {"jku": elsewhere.URL, "kid": "k1"},
		"a certificate of its own, by URL": {"x5u": elsewhere.URL, "kid": "k1"},
		"a certificate of its own":         {"x5c": []string{base64.StdEncoding.EncodeToString(der)}, "kid": "k1"},
	} {
		refused[name] = sign(t, jwt.SigningMethodRS256, own, boss, head)
	}
	good := sign(t, jwt.SigningMethodES256, e, boss, nil)
	parts := strings.Split(good, ".")
	refused["a signature of zeros"] = parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	refused["half a signature"] = good[:len(good)-20]
	refused["another body"] = parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(body)) + "." + parts[2]
	refused["a part more"] = good + "." + parts[2]
	refused["twice"] = good + good
	refused["padded"] = good + "="
	refused["with a blank"] = good + " "
	refused["long"] = good + strings.Repeat("A", 17<<10)
	refused["many dots"] = "eyJ" + strings.Repeat(".", 15<<10)
	refused["deep"] = forge(`{"alg":"RS256","x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`, body, nil)
	for name, text := range refused {
		for what, tokens := range map[string]*auth.Tokens{"files": files, "a set": ofSet} {
			if id, err := tokens.Authenticate(t.Context(), "boss", text); !errors.Is(err, auth.ErrDenied) {
				t.Errorf("%s, with keys of %s: %+v, %v", name, what, id, err)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d times somebody was asked whom a token names", n)
	}
	if id, err := files.Authenticate(t.Context(), "", good); err != nil || id.Name != "boss" {
		t.Errorf("the good one: %+v, %v", id, err)
	}

	// Signed rightly, and not to be believed.
	now := time.Now().Unix()
	for name, claims := range map[string]string{
		"no exp":             `{"sub":"joe"}`,
		"exp null":           `{"sub":"joe","exp":null}`,
		"exp a word":         fmt.Sprintf(`{"sub":"joe","exp":"%d"}`, now+600),
		"exp a list":         fmt.Sprintf(`{"sub":"joe","exp":[%d]}`, now+600),
		"exp 0":              `{"sub":"joe","exp":0}`,
		"exp negative":       `{"sub":"joe","exp":-1}`,
		"exp in the past":    fmt.Sprintf(`{"sub":"joe","exp":%d}`, now-10),
		"exp past the clock": `{"sub":"joe","exp":1e300}`,
		"exp no number":      `{"sub":"joe","exp":1e999}`,
		"nbf in the future":  fmt.Sprintf(`{"sub":"joe","exp":%d,"nbf":%d}`, now+600, now+60),
		"no sub":             fmt.Sprintf(`{"exp":%d}`, now+600),
		"sub empty":          fmt.Sprintf(`{"sub":"","exp":%d}`, now+600),
		"sub a number":       fmt.Sprintf(`{"sub":7,"exp":%d}`, now+600),
		"sub with a control": fmt.Sprintf(`{"sub":"joe\n","exp":%d}`, now+600),
		"not an object":      `[]`,
		"two objects":        fmt.Sprintf(`{"sub":"joe","exp":%d}{}`, now+600),
	} {
		if id, err := shared.Authenticate(t.Context(), "", forge(`{"alg":"HS256"}`, claims, secret)); !errors.Is(err, auth.ErrDenied) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	// What is critical has to be understood, and nothing is (RFC 7515, section 4.1.11).
	for _, head := range []string{`{"alg":"HS256","crit":["exp"],"exp":1}`, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"alg":"HS256","crit":[]}`, `{"alg":"HS256","crit":"x"}`} {
		if id, err := shared.Authenticate(t.Context(), "", forge(head, body, secret)); !errors.Is(err, auth.ErrDenied) {
			t.Errorf("%s: %+v, %v", head, id, err)
		}
	}
	// Clocks may differ by five seconds, and what is far is far.
	for name, exp := range map[string]int64{"a moment ago": now - 2, "in a century": now + 100*365*86400, "in ten thousand years": now + 10_000*365*86400} {
		id, err := shared.Authenticate(t.Context(), "", forge(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"joe","exp":%d}`, exp), secret))
		if err != nil || id.Expires.Unix() != exp {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

// TestRefusalsTakeTheSameTime: how long a refusal takes does not tell whether there is the user.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), 6)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, auth.Config{}, write(t, "joe:"+string(hash)+"\nann:"+string(hash)+"\nplain:right\n"))
	kinds := []string{"joe", "nobody", "plain"}
	took := make([][]time.Duration, len(kinds))
	const tries = 150
	for i := range tries { // in turn, so that what else the machine does is the same for all
		for k, login := range kinds {
			began := time.Now()
			if _, err := p.Authenticate(t.Context(), login, fmt.Sprint("wrong", i)); !errors.Is(err, auth.ErrDenied) {
				t.Fatal(err)
			}
			took[k] = append(took[k], time.Since(began))
		}
	}
	median := func(k int) time.Duration {
		slices.Sort(took[k])
		return took[k][tries/2]
	}
	known := median(0)
	for k := 1; k < len(kinds); k++ {
		ratio := float64(median(k)) / float64(known)
		t.Logf("%s: %v, of a user with a hash %v: %.3f", kinds[k], median(k), known, ratio)
		if ratio < 0.7 || ratio > 1.4 {
			t.Errorf("%s takes %v, a user with a hash %v", kinds[k], median(k), known)
		}
	}
}
