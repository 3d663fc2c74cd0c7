// Package databases starts database servers for tests, on sockets in directories of their own, as
// users without privileges. It does so on Unix alone.
package databases
