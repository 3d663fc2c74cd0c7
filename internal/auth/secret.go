package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A Kind is how a passcode is kept.
type Kind string

// The kinds of secrets in a password file.
const (
	Plain    Kind = "plain"    // the passcode itself
	Bcrypt   Kind = "bcrypt"   // $2a$, $2b$ or $2y$, as htpasswd -B writes
	Argon2id Kind = "argon2id" // $argon2id$v=19$m=…,t=…,p=…$salt$sum
)

// What Hash costs: the parameters that OWASP's Password Storage Cheat Sheet begins with,
// 19 MiB and some 20 ms of one core.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2
	hashThreads = 1
	hashSalt    = 16 // bytes
	hashSum     = 32
)

// What a hash in a file may cost at most: every login attempt pays it.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 64
	maxThreads = 16
	maxCost    = 16 // of bcrypt; 4 s or so
)

// Hash makes the secret to keep instead of passcode: argon2id with a salt of its own.
func Hash(passcode string) (string, error) {
	if passcode == "" {
		return "", errors.New("a passcode must not be empty")
	}
	salt := make([]byte, hashSalt)
	rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(passcode), salt, hashTime, hashMemory, hashThreads, hashSum)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		hashMemory, hashTime, hashThreads, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// KindOf tells how a secret keeps its passcode. An error says why it can be neither a hash
// nor a passcode; it quotes nothing of it.
func KindOf(secret string) (Kind, error) {
	s, err := parseSecret(secret)
	return s.kind, err
}

// Verify reports whether passcode is the one that secret keeps. A secret that KindOf calls
// an error has none, and neither has an empty one.
func Verify(secret, passcode string) bool {
	s, err := parseSecret(secret)
	if err != nil || secret == "" {
		return false
	}
	if s.kind == Plain {
		return subtle.ConstantTimeCompare([]byte(secret), []byte(passcode)) == 1
	}
	return s.verify(passcode)
}

// A secret is the parsed form of one. Of a plain one it keeps nothing but the kind.
type secret struct {
	kind   Kind
	bcrypt []byte

	time, memory uint32
	threads      uint8
	salt, sum    []byte
}

// parseSecret tells hashes from plain passcodes by how they begin. What begins as a hash
// and is none is an error, not a passcode: a hash cut short must not be one to log in with.
func parseSecret(s string) (secret, error) {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2id(s)
	case strings.HasPrefix(s, "$argon2"):
		return secret{}, errors.New("only the kind argon2id of argon2 is known")
	}
	return secret{kind: Plain}, nil
}

// bcrypt's own alphabet, without padding.
const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func parseBcrypt(s string) (secret, error) {
	broken := errors.New("not a whole bcrypt hash")
	if len(s) != 60 || s[6] != '$' || strings.Trim(s[7:], bcryptAlphabet) != "" {
		return secret{}, broken
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil {
		return secret{}, broken
	}
	if cost > maxCost {
		return secret{}, fmt.Errorf("bcrypt cost %d, more than %d, would stop logins for minutes", cost, maxCost)
	}
	return secret{kind: Bcrypt, bcrypt: []byte(s)}, nil
}

func parseArgon2id(s string) (secret, error) {
	broken := errors.New("not a whole argon2id hash")
	parts := strings.Split(s, "$") // the first is empty
	if len(parts) != 6 {
		return secret{}, broken
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return secret{}, errors.New("argon2id of a version other than 19")
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return secret{}, broken
	}
	var v [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(costs[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < 1 {
			return secret{}, broken
		}
		v[i] = n
	}
	if v[0] > maxMemory || v[1] > maxTime || v[2] > maxThreads {
		return secret{}, fmt.Errorf("argon2id costs more than m=%d,t=%d,p=%d", maxMemory, maxTime, maxThreads)
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err1 := b64.DecodeString(parts[4])
	sum, err2 := b64.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return secret{}, broken
	}
	return secret{
		kind: Argon2id, memory: uint32(v[0]), time: uint32(v[1]), threads: uint8(v[2]),
		salt: salt, sum: sum,
	}, nil
}

// verify hashes passcode and compares. Not for a plain secret.
func (s *secret) verify(passcode string) bool {
	if s.kind == Bcrypt {
		return bcrypt.CompareHashAndPassword(s.bcrypt, []byte(passcode)) == nil
	}
	sum := argon2.IDKey([]byte(passcode), s.salt, s.time, s.memory, s.threads, uint32(len(s.sum)))
	return subtle.ConstantTimeCompare(sum, s.sum) == 1
}
