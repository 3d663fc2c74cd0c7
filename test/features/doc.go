// Package features tests what clients of other brokers rely on, on every local store, by
// what goes over the wire.
package features
