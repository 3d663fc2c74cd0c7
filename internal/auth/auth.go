// Package auth answers who is behind a login.
//
// The answer comes from a password file, `.passwd`, in the Ruby server's format: one
// `login:passcode` a line. A passcode may stand there as it is, or as a hash of the kinds
// bcrypt and argon2id; the two are told apart by their form. File reads and edits such a
// file, Passwd is the Authenticator made of it.
//
// No passcode, and no line of a password file, is ever part of an error or a log line.
package auth

import (
	"context"
	"errors"
	"time"

	"stompserver/internal/rights"
)

// An Identity is who is behind a login.
type Identity struct {
	Name   string       // the login, as the password file spells it
	Listed bool         // by its Authenticator, which is a Roster
	Grant  rights.Grant // what the login brought along; empty for most

	// Expires is when the login does; zero: never.
	Expires time.Time
}

// A Roster is an Authenticator that can tell whether a user, who logged in, is still known. It may
// be asked from any goroutine.
type Roster interface {
	Lists(name string) bool
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

// Several asks one Authenticator for tokens and another for all other passcodes.
type Several struct {
	Tokens *Tokens // nil: tokens are passcodes like any
	*Passwd
}

var (
	_ Authenticator = Several{}
	_ Roster        = Several{}
)

// Authenticate is that of Authenticator.
func (s Several) Authenticate(ctx context.Context, login, passcode string) (*Identity, error) {
	if s.Tokens != nil && IsToken(passcode) {
		return s.Tokens.Authenticate(ctx, login, passcode)
	}
	return s.Passwd.Authenticate(ctx, login, passcode)
}
