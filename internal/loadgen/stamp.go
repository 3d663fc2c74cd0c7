package loadgen

import "time"

const (
	tagLen    = 4
	streamLen = 3
	seqLen    = 7
	timeLen   = 9

	// stampLen is how much of a body the stamp takes, and so the smallest body.
	stampLen = tagLen + streamLen + seqLen + timeLen
)

var epoch = time.Now()

// clock is the monotonic time in nanoseconds since the start of the process.
func clock() int64 { return int64(time.Since(epoch)) }

// A stamp says who sent a message, as which of its stream, and when by clock.
type stamp struct {
	tag    uint64
	stream int
	seq    int64
	time   int64
}

// put writes s at the head of body, which has room for stampLen bytes.
func (s stamp) put(body []byte) {
	_ = body[stampLen-1]
	put6(body[:tagLen], s.tag)
	put6(body[tagLen:tagLen+streamLen], uint64(s.stream))
	putSeqTime(body, s.seq, s.time)
}

// putSeqTime renews what differs from one message of a stream to the next.
func putSeqTime(body []byte, seq, at int64) {
	b := body[tagLen+streamLen : stampLen]
	put6(b[:seqLen], uint64(seq))
	put6(b[seqLen:], uint64(at))
}

// parseStamp reads the stamp at the head of body; ok is false if none stands there.
func parseStamp(body []byte) (s stamp, ok bool) {
	if len(body) < stampLen {
		return s, false
	}
	var bad byte
	for _, c := range body[:stampLen] {
		bad |= (c - '0') &^ 63
	}
	if bad != 0 {
		return s, false
	}
	s.tag = get6(body[:tagLen])
	s.stream = int(get6(body[tagLen : tagLen+streamLen]))
	s.seq = int64(get6(body[tagLen+streamLen : tagLen+streamLen+seqLen]))
	s.time = int64(get6(body[tagLen+streamLen+seqLen : stampLen]))
	return s, true
}

// put6 fills b with the lowest bits of v, six a character, the highest first.
func put6(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = '0' + byte(v&63)
		v >>= 6
	}
}

func get6(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<6 | uint64(c-'0')&63
	}
	return v
}
