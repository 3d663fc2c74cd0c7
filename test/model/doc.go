// Package model plays random programs of several clients against the server and compares what they see with a
// list of messages: nothing that was confirmed is lost, nothing acknowledged comes back, and who gets what, when
// and how often is what the documentation says, over restarts and crashes too.
package model
