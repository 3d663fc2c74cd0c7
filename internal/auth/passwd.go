package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Config is what a Passwd may be told. The zero value of each field is its default.
type Config struct {
	// AllowEmpty lets users log in whose passcode in the file is empty, with an empty
	// passcode, as the Ruby server did. Default: they are refused.
	AllowEmpty bool

	// Users are known beside those of the file, and stand in for what it says of them.
	Users []User

	// Others says that there are other ways to log in, so that nobody need miss the file.
	Others bool

	Log *slog.Logger
}

// A User is one that the configuration names.
type User struct {
	Name   string
	Secret string // a hash, or the passcode
	File   string // that holds the secret in one line, if Secret is empty
}

// A Passwd is an Authenticator made of a password file.
//
// A check takes the same time whether the login exists or not. Hashes are computed by a few
// goroutines at once only, so that logins leave room for messages; a login that succeeded is
// remembered, under a keyed hash, and takes no hash again until its line changes.
type Passwd struct {
	cfg   Config // but for its Users
	paths []string
	users atomic.Pointer[[]User]
	key   [32]byte      // of the proofs; of this process alone
	slots chan struct{} // one is held while a hash is computed

	reload sync.Mutex // held by Reload and Changed
	seen   proof      // of the file that was read last; guarded by reload
	table  atomic.Pointer[table]
}

var _ Authenticator = (*Passwd)(nil)

// A table is what a password file says. It does not change but for the users' proofs.
type table struct {
	users  map[string]*user
	hashed []*user // those of users that are kept as hashes, in the order of their names
}

type user struct {
	name   string
	secret secret
	raw    string // the hash as the file has it; empty for a plain one

	// proof is the keyed hash of login and passcode: of a plain user from the start, of
	// another since the last login that succeeded.
	proof atomic.Pointer[proof]
}

type proof [sha256.Size]byte

// OpenPasswd makes an Authenticator of the first of paths that exists. If none does nobody
// can log in; that is no error but a warning, and Reload looks again. What stands in a line
// that cannot be used is told in warnings as FILE:LINE.
func OpenPasswd(log *slog.Logger, paths ...string) (*Passwd, error) {
	return Config{Log: log}.OpenPasswd(paths...)
}

// OpenPasswd is the function of that name, with what c says.
func (c Config) OpenPasswd(paths ...string) (*Passwd, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Passwd{
		cfg:   c,
		paths: paths,
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	rand.Read(p.key[:]) // never fails
	p.users.Store(&c.Users)
	if err := p.Reload(); err != nil {
		return nil, err
	}
	return p, nil
}

// SetUsers has others beside those of the file from the next Reload on.
func (p *Passwd) SetUsers(users []User) { p.users.Store(&users) }

// Reload reads the file anew, the first of the paths that exists now, and the files of the other
// users. On an error the users stay as they are.
func (p *Passwd) Reload() error {
	p.reload.Lock()
	defer p.reload.Unlock()
	r, err := p.read()
	if err != nil {
		return err
	}
	t := &table{users: make(map[string]*user)}
	if r.path != "" {
		p.fill(t, r.path, r.data)
	} else if len(r.more) == 0 && !p.cfg.Others {
		p.cfg.Log.Warn("no password file: nobody can log in", "err", fmt.Sprintf("none of %q exists", p.paths))
	}
	for _, e := range r.more {
		if err := p.add(t, e); err != nil {
			return fmt.Errorf("user %s: %w", e.Login, err)
		}
	}
	for _, u := range t.users { // of one login there may have been two
		if u.raw != "" {
			t.hashed = append(t.hashed, u)
		}
	}
	slices.SortFunc(t.hashed, func(a, b *user) int { return cmp.Compare(a.name, b.name) })
	p.table.Store(t)
	p.seen = r.fingerprint()
	return nil
}

// Changed reports whether what Reload would read is something else than it read last. A file that
// cannot be read has changed.
func (p *Passwd) Changed() bool {
	p.reload.Lock()
	defer p.reload.Unlock()
	r, err := p.read()
	return err != nil || r.fingerprint() != p.seen
}

// A reading is what the files said.
type reading struct {
	path string // of the password file; empty: there is none
	data []byte
	more []Entry // of the other users
}

func (r reading) fingerprint() proof {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", r.path, r.data)
	for _, e := range r.more {
		fmt.Fprintf(h, " %q", e.Secret)
	}
	return proof(h.Sum(nil))
}

// read reads the first password file that exists, and those of users.
func (p *Passwd) read() (r reading, err error) {
	for _, path := range p.paths {
		data, err := readFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return r, err
		}
		r.path, r.data = path, data
		break
	}
	for _, u := range *p.users.Load() {
		e := Entry{Login: u.Name, Secret: u.Secret}
		if u.File != "" {
			data, err := readFile(u.File)
			if err != nil {
				return r, fmt.Errorf("user %s: %w", u.Name, err)
			}
			e.Secret = strings.Trim(string(data), blanks+"\n")
		}
		r.more = append(r.more, e)
	}
	return r, nil
}

// readFile reads a password file within its bound.
func readFile(path string) ([]byte, error) {
	// Looked at before it is opened: the opening of a pipe waits for its other end.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, fileError(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("larger than %d MiB", MaxFile>>20)
	}
	if err != nil {
		return nil, fileError(path, err)
	}
	return data, nil
}

// fileError names the file once, and first.
func fileError(path string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("password file %s: %w", path, err)
}

// maxTold is how many lines that cannot be used are told one by one.
const maxTold = 20

// fill puts the users of the file at path into t.
func (p *Passwd) fill(t *table, path string, data []byte) {
	entries, problems := ParseFile(data).Entries()
	plain := 0
	for _, e := range entries {
		if err := p.add(t, e); err != nil {
			problems = append(problems, Problem{Line: e.Line, What: err.Error()})
		} else if t.users[e.Login].secret.kind == Plain {
			plain++
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	p.tell(path, problems, plain)
}

// add puts one user into t.
func (p *Passwd) add(t *table, e Entry) error {
	sec, err := parseSecret(e.Secret)
	if err == nil && e.Secret == "" && !p.cfg.AllowEmpty {
		err = errors.New("the passcode is empty")
	}
	if err != nil {
		return err
	}
	u := &user{name: e.Login, secret: sec}
	if sec.kind == Plain {
		pr := p.prove(e.Login, e.Secret)
		u.proof.Store(&pr)
	} else {
		u.raw = e.Secret
		// A reload must not cost every connected client's next login a hash.
		if old := p.table.Load(); old != nil && old.users[e.Login] != nil && old.users[e.Login].raw == u.raw {
			u.proof.Store(old.users[e.Login].proof.Load())
		}
	}
	t.users[e.Login] = u
	return nil
}

// tell warns of what an operator may want to change in the file.
func (p *Passwd) tell(path string, problems []Problem, plain int) {
	log := p.cfg.Log
	for i, pr := range problems {
		if i == maxTold {
			log.Warn("more lines of the password file passed over", "err",
				fmt.Sprintf("%s: %d more like these", path, len(problems)-i))
			break
		}
		log.Warn("line of the password file passed over", "err", fmt.Sprintf("%s:%d: %s", path, pr.Line, pr.What))
	}
	if plain > 0 {
		log.Warn("plain passcodes in the password file", "err",
			fmt.Sprintf("%s: %d not hashed; hash them with: stompserver passwd convert --file %s", path, plain, path))
	}
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
		log.Warn("password file may be read by everybody", "err",
			fmt.Sprintf("%s has mode %#o; chmod o-rwx %s", path, info.Mode().Perm(), path))
	}
}

// Authenticate is that of Authenticator. It waits, until ctx ends, for its turn to compute
// a hash; the hash itself, some 20 ms, is not cut short.
func (p *Passwd) Authenticate(ctx context.Context, login, passcode string) (*Identity, error) {
	if passcode == "" && !p.cfg.AllowEmpty {
		return nil, ErrDenied
	}
	t := p.table.Load()
	given := p.prove(login, passcode)
	u := t.users[login]
	if u != nil && u.proven(&given) {
		return &Identity{Name: u.name, Listed: true}, nil
	}
	// Every refusal takes a hash, if any login of this file does: or its time would tell
	// which logins exist, and how they are kept.
	checked := u
	if u == nil || u.secret.kind == Plain {
		checked = t.decoy(p.prove(login, ""))
		u = nil
	}
	if checked == nil {
		return nil, ErrDenied
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ok := checked.secret.verify(passcode)
	<-p.slots
	if !ok || u == nil {
		return nil, ErrDenied
	}
	u.proof.Store(&given)
	return &Identity{Name: u.name, Listed: true}, nil
}

// Lists reports whether there is a user of that name.
func (p *Passwd) Lists(name string) bool { return p.table.Load().users[name] != nil }

// Still is that of Roster.
func (p *Passwd) Still(id *Identity) *Identity {
	if !p.Lists(id.Name) {
		return nil
	}
	return id
}

// proven reports whether given is the proof known.
func (u *user) proven(given *proof) bool {
	known := u.proof.Load()
	return known != nil && subtle.ConstantTimeCompare(known[:], given[:]) == 1
}

// decoy picks a hashed user to check instead of one that there is not, for each login the
// same one as long as the file does, so that many tries show nothing either. It is nil if
// there is no hash in the file.
func (t *table) decoy(by proof) *user {
	if len(t.hashed) == 0 {
		return nil
	}
	return t.hashed[binary.BigEndian.Uint64(by[:])%uint64(len(t.hashed))]
}

func (p *Passwd) prove(login, passcode string) proof { return prove(&p.key, login, passcode) }

// prove is the keyed hash of login and passcode.
func prove(key *[32]byte, login, passcode string) proof {
	h := hmac.New(sha256.New, key[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(login)))
	h.Write(n[:])
	io.WriteString(h, login)
	io.WriteString(h, passcode)
	return proof(h.Sum(nil))
}
