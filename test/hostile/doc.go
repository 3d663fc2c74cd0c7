// Package hostile has no code of its own: its tests do to the built server what broken and
// malicious clients do, through real sockets.
//
// In each of them a healthy client makes round trips all the while: none may fail or be
// slow. Afterwards the server must still be there, and must never have been large.
package hostile
