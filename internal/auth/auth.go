// Package auth answers who is behind a login.
//
// The answer comes from a password file, `.passwd`, in the Ruby server's format: one
// `login:passcode` a line. A passcode may stand there as it is, or as a hash of the kinds
// bcrypt and argon2id; the two are told apart by their form. File reads and edits such a
// file, Passwd is the Authenticator made of it. Tokens is one for JSON Web Tokens, Directory
// one that asks by LDAP; Several has them all.
//
// No passcode, and no line of a password file, is ever part of an error or a log line.
package auth

import (
	"context"
	"errors"
	"time"

	"stompserver/internal/rights"
)

// An Identity is who is behind a login. It does not change.
type Identity struct {
	Name   string       // the login, as the password file or the directory spells it
	Listed bool         // by its Authenticator, which is a Roster
	Grant  rights.Grant // what the login brought along; empty for most

	// Expires is when the login does; zero: never.
	Expires time.Time

	dn, login string // of a Directory: the entry, and what was asked
}

// A Roster is an Authenticator that can tell what became of a user who logged in. It may be asked
// from any goroutine.
type Roster interface {
	// Still is who the user is by now, nil if it is not known any more. It does not wait.
	Still(*Identity) *Identity
}

// ErrDenied is the answer to a login that is unknown or whose passcode is wrong. Which of
// the two it was is not told.
var ErrDenied = errors.New("auth: login or passcode is wrong")

// An Authenticator names the client behind a login. It returns ErrDenied if there is none
// with that passcode, and any other error, such as that of ctx, if it could not find out.
// It may be called from any goroutine and may take the time of a password hash.
type Authenticator interface {
	Authenticate(ctx context.Context, login, passcode string) (*Identity, error)
}

// Several asks one Authenticator for tokens, one for the users of the password file, and one for
// all others.
type Several struct {
	Tokens    *Tokens    // nil: tokens are passcodes like any
	Directory *Directory // nil: there are no others
	*Passwd
}

var (
	_ Authenticator = Several{}
	_ Roster        = Several{}
)

// refusalStep is what the time of a refusal is a multiple of, where there is a directory: it is
// not to tell whether the file, the directory or nobody knows the login.
const refusalStep = 250 * time.Millisecond

// Authenticate is that of Authenticator.
func (s Several) Authenticate(ctx context.Context, login, passcode string) (*Identity, error) {
	switch {
	case s.Tokens != nil && IsToken(passcode):
		return s.Tokens.Authenticate(ctx, login, passcode)
	case s.Directory == nil:
		return s.Passwd.Authenticate(ctx, login, passcode)
	}
	began := time.Now()
	id, err := s.ask(ctx, login, passcode)
	if errors.Is(err, ErrDenied) {
		timer := time.NewTimer(refusalStep - time.Since(began)%refusalStep)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return id, err
}

func (s Several) ask(ctx context.Context, login, passcode string) (*Identity, error) {
	if s.Lists(login) {
		return s.Passwd.Authenticate(ctx, login, passcode)
	}
	id, err := s.Directory.Authenticate(ctx, login, passcode)
	if err == nil && s.Lists(id.Name) { // it would have the rights of another
		s.Directory.cfg.Log.Warn("a user of the directory has the name of one of the password file and does not get in", "user", id.Name)
		return nil, ErrDenied
	}
	return id, err
}

// Still is that of Roster.
func (s Several) Still(id *Identity) *Identity {
	if id.dn == "" {
		return s.Passwd.Still(id)
	}
	if s.Directory == nil || s.Lists(id.Name) {
		return nil
	}
	return s.Directory.Still(id)
}
