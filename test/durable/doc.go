// Package durable kills and restarts the built server: what it confirmed is there.
package durable
