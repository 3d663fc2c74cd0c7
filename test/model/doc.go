// Package model plays random programs of several clients against the server and compares what they see with a
// list of messages: nothing that was confirmed is lost, nothing acknowledged comes back, no two messages have one
// id, and who gets what, when and how often is what the documentation says, over restarts and crashes too. Each
// program is about a few kinds of queues (themes): groups and priorities, bounded ones, last values, durable
// subscriptions, topics that keep. The server is in this process, with a clock and a disk of the test's own, or it
// is the built one, which is killed.
package model
