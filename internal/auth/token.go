package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// TokenConfig says which tokens are believed: JSON Web Tokens (RFC 7519) signed with one of some
// keys, which have not expired and have an expiry.
type TokenConfig struct {
	Keys     []string // files: public keys in PEM, or secrets of 32 bytes or more
	JWKS     string   // where there is a key set (RFC 7517); "" is nowhere
	Issuer   string   // the claim iss that is needed; "" is any
	Audience string   // one of the claim aud that is needed; "" is any
	User     string   // the claim with the user's name; default sub
	Roles    string   // the claim with roles, a list or words with blanks between; parts of a path are split at dots; "": tokens have none
	Prefix   string   // of the roles that count; it is taken off

	Log *slog.Logger
}

// Tokens is an Authenticator of tokens. What the login says is of no account: the token does.
type Tokens struct {
	cfg    TokenConfig
	keys   atomic.Pointer[[]crypto.PublicKey] // or []byte for a secret
	set    keyfunc.Keyfunc                    // nil: there is none
	parser *jwt.Parser
	close  context.CancelFunc
}

var _ Authenticator = (*Tokens)(nil)

// minSecret is how short a secret may be, in bytes: that of a hash (RFC 7518, section 3.2).
const minSecret = 32

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// leeway is how much the clocks of two machines may differ.
const leeway = 5 * time.Second

// The methods of signing, by what the key is. There is no "none".
var (
	byRSA     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	byECDSA   = []string{"ES256", "ES384", "ES512"}
	byEd25519 = []string{"EdDSA"}
	bySecret  = []string{"HS256", "HS384", "HS512"}
)

// methodsOf are those that a key can have been used for. A public key is never a secret, or
// whoever knows it could sign.
func methodsOf(key any) []string {
	switch key.(type) {
	case *rsa.PublicKey:
		return byRSA
	case *ecdsa.PublicKey:
		return byECDSA
	case ed25519.PublicKey:
		return byEd25519
	case []byte:
		return bySecret
	}
	return nil
}

// OpenTokens reads the keys, and has the key set fetched now and then until Close. That the set
// cannot be fetched is no error: it is tried again when a token comes that needs it.
func (c TokenConfig) OpenTokens() (*Tokens, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.User == "" {
		c.User = "sub"
	}
	t := &Tokens{cfg: c, close: func() {}}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(slices.Concat(byRSA, byECDSA, byEd25519, bySecret)),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding(),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	t.parser = jwt.NewParser(options...)
	if c.JWKS == "" {
		return t, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.close = cancel
	startAnyway := true
	var err error
	t.set, err = keyfunc.NewDefaultOverrideCtx(ctx, []string{c.JWKS}, keyfunc.Override{
		Client:                    &http.Client{Timeout: fetchTime},
		HTTPTimeout:               fetchTime,
		NoErrorReturnFirstHTTPReq: &startAnyway,
		RefreshInterval:           time.Hour,
		RefreshUnknownKID:         rate.NewLimiter(rate.Every(10*time.Second), 1),
		RateLimitWaitMax:          100 * time.Millisecond,
		RefreshErrorHandlerFunc: func(u string) func(context.Context, error) {
			return func(_ context.Context, err error) {
				c.Log.Warn("key set of tokens cannot be fetched", "url", u, "err", err)
			}
		},
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("key set %s: %w", c.JWKS, err)
	}
	return t, nil
}

// fetchTime is how long a key set may take to come.
const fetchTime = 10 * time.Second

// Close ends what Tokens does by itself.
func (t *Tokens) Close() { t.close() }

// Reload reads the files of keys anew. On an error the keys stay as they are.
func (t *Tokens) Reload() error {
	var keys []crypto.PublicKey
	for _, path := range t.cfg.Keys {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("key of tokens: %w", err)
		}
		key, err := parseKey(data)
		if err != nil {
			return fmt.Errorf("key of tokens %s: %w", path, err)
		}
		keys = append(keys, key)
	}
	t.keys.Store(&keys)
	return nil
}

// parseKey reads a public key or certificate in PEM, or else a secret. Errors quote nothing.
func parseKey(data []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		secret := bytes.TrimRight(data, "\r\n")
		switch {
		case bytes.Contains(data, []byte("-----BEGIN")):
			return nil, errors.New("it is no whole PEM")
		case len(secret) < minSecret:
			return nil, fmt.Errorf("a secret has at least %d bytes, this one has %d", minSecret, len(secret))
		}
		return secret, nil
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		return nil, fmt.Errorf("it is a %s; a PUBLIC KEY is needed", block.Type)
	}
	if err == nil && methodsOf(key) == nil {
		err = fmt.Errorf("a %T cannot have signed a token", key)
	}
	return key, err
}

// IsToken reports whether a passcode has the form of a token. No other passcode that is likely
// begins so: it is JSON in base64.
func IsToken(passcode string) bool {
	return strings.HasPrefix(passcode, "eyJ") && strings.Count(passcode, ".") == 2
}

// Authenticate is that of Authenticator.
func (t *Tokens) Authenticate(ctx context.Context, _, passcode string) (*Identity, error) {
	if len(passcode) > maxToken {
		return nil, ErrDenied
	}
	var away error
	claims := make(jwt.MapClaims)
	_, err := t.parser.ParseWithClaims(passcode, claims, func(token *jwt.Token) (any, error) {
		if _, ok := token.Header["crit"]; ok { // it has to be understood, and none is (RFC 7515, section 4.1.11)
			return nil, errCritical
		}
		var fit jwt.VerificationKeySet
		for _, key := range *t.keys.Load() {
			if slices.Contains(methodsOf(key), token.Method.Alg()) {
				fit.Keys = append(fit.Keys, key)
			}
		}
		if len(fit.Keys) > 0 || t.set == nil {
			return fit, nil
		}
		key, err := t.set.KeyfuncCtx(ctx)(token)
		if err != nil {
			away = err
			return nil, err
		}
		if !slices.Contains(methodsOf(key), token.Method.Alg()) {
			return nil, errors.New("another kind of key")
		}
		return key, nil
	})
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case away != nil:
			t.cfg.Log.Info("token refused", "err", fmt.Sprintf("its key is not at hand: %.200v", away))
		default:
			t.cfg.Log.Info("token refused", "err", reason(err))
		}
		return nil, ErrDenied
	}
	id := new(Identity)
	id.Name, _ = claims[t.cfg.User].(string)
	if err := CheckLogin(id.Name); err != nil {
		t.cfg.Log.Info("token refused", "err", fmt.Sprintf("the claim %s: %v", t.cfg.User, err))
		return nil, ErrDenied
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return nil, ErrDenied
	}
	id.Expires = exp.Time
	if t.cfg.Roles != "" {
		// A token without the claim has no role, rather than what everybody has.
		id.Grant.Roles = []string{NoRole}
		for _, role := range wordsOf(claims, t.cfg.Roles) {
			if name, ok := strings.CutPrefix(role, t.cfg.Prefix); ok {
				id.Grant.Roles = append(id.Grant.Roles, name)
			}
		}
	}
	return id, nil
}

// NoRole is a role that nobody can define: it has no name that could be written.
const NoRole = "\x00"

var errCritical = errors.New("it has a critical header that is not understood")

// reason is why a token is refused, without anything of the token.
func reason(err error) string {
	for _, known := range []error{errCritical, jwt.ErrTokenMalformed, jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenSignatureInvalid} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "it cannot be verified"
}

// wordsOf reads the claim at a path: a list of words, or words with blanks between.
func wordsOf(claims map[string]any, path string) []string {
	at, ok := any(claims), true
	if v, whole := claims[path]; whole { // a name with dots, such as an address
		at, path = v, ""
	}
	for path != "" && ok {
		var name string
		name, path, _ = strings.Cut(path, ".")
		var m map[string]any
		switch v := at.(type) {
		case jwt.MapClaims:
			m = v
		case map[string]any:
			m = v
		}
		at, ok = m[name]
	}
	switch v := at.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var all []string
		for _, one := range v {
			if word, ok := one.(string); ok {
				all = append(all, word)
			}
		}
		return all
	}
	return nil
}
