//go:build !unix

package main

import "github.com/rogpeppe/go-internal/testscript"

func ends(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("there are no daemons here") }
