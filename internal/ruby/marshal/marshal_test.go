package marshal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/ruby/marshal"
)

// ruby is what Ruby 3.1 writes. What it shares is not always shared by Append, which is the
// same to who reads it.
var ruby = []struct {
	name, hex string
	shared    bool
}{
	{"nil", "040830", false},
	{"true", "040854", false},
	{"false", "040846", false},
	{"zero", "04086900", false},
	{"small", "04085b146906697f69017b69fa698069ff846901ff6902000169ff0069fefffe6902ffff690300000169fe00006904ffffff3f69fc000000c0", false},
	{"big", "04085b0b6c2b07000000406c2d07010000406c2b07000000806c2b0900000000000000406c2b0a000000000000000001006c2d0b000000000000000000000100", false},
	{"float", "04085b0e6606306608312e35660b2d31653130306608696e6666092d696e66660c332e313431353966093165323366072d30660e313233343536373839", true},
	{"strings", "04085b0b49220b75746620c3a4063a06455449220a6173636969063b0046220962696eff492209736a6973063a0d656e636f64696e67220e53686966745f4a495349220678063b06400a492200063b0054", true},
	{"symbols", "04085b093a06613a06623b00493a07c3a4063a064554", true},
	{"hash", "04087b073a0661690649220662063a0645545b0630", false},
	{"default", "04087d0669066907690c", false},
	{"links", "04085b0849220b736861726564063a06455440065b064006", true},
	{"self", "04085b0769064000", false},
	{"object", "04085b076f3a08466f6f073a07406169063a07406249220678063a0645544006", false},
	{"bignum linked", "04085b0a6c2b0a0000000000000000400040066608312e355b066c2b0800000000000149220678063a064554", true},
}

func TestRuby(t *testing.T) {
	for _, tt := range ruby {
		t.Run(tt.name, func(t *testing.T) {
			in, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			v, err := marshal.Load(in)
			if err != nil {
				t.Fatal(err)
			}
			out, err := marshal.Append(nil, v)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.shared && !bytes.Equal(out, in) {
				t.Errorf("written is\n%x, want\n%x", out, in)
			}
			again, err := marshal.Load(out)
			if err != nil {
				t.Fatal(err)
			}
			if out2, err := marshal.Append(nil, again); err != nil || !bytes.Equal(out, out2) {
				t.Errorf("written again it is\n%x, want\n%x (%v)", out2, out, err)
			}
		})
	}
}

func TestValues(t *testing.T) {
	load := func(h string) any {
		t.Helper()
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		v, err := marshal.Load(b)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	small := &marshal.Array{}
	for _, n := range []int64{1, 122, 123, -1, -123, -124, 255, 256, -256, -257, 65535, 65536, -65536, 1<<30 - 1, -1 << 30} {
		small.Items = append(small.Items, n)
	}
	if d := cmp.Diff(small, load(ruby[4].hex)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	want := &marshal.Array{Items: []any{
		marshal.UTF8("utf ä"), marshal.String{Bytes: "ascii", Encoding: "US-ASCII"}, marshal.String{Bytes: "bin\xff"},
		marshal.String{Bytes: "sjis", Encoding: "Shift_JIS"}, marshal.String{Bytes: "x", Encoding: "Shift_JIS"}, marshal.UTF8(""),
	}}
	if d := cmp.Diff(want, load(ruby[7].hex)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	o := load(ruby[13].hex).(*marshal.Array)
	if o.Items[0] != o.Items[1] || o.Items[0].(*marshal.Object).Get("@b") != marshal.UTF8("x") {
		t.Errorf("got %+v", o)
	}
}

// TestLegacy reads the index of a directory that the Ruby server wrote.
func TestLegacy(t *testing.T) {
	in, err := os.ReadFile(filepath.Join("testdata", "qinfo"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := marshal.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	queues := v.(*marshal.Hash).Get("queues").(*marshal.Hash)
	var got []string
	for _, p := range queues.Pairs {
		got = append(got, p.Key.(marshal.String).Bytes)
	}
	if d := cmp.Diff([]string{"/queue/test", "/queue/orders/eu_west", "/queue/empty_body"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	test := queues.Pairs[0].Value.(*marshal.Hash)
	if n := len(test.Get("frames").(*marshal.Array).Items); n != 7 || test.Get("msgid") != int64(9) {
		t.Errorf("%d frames, msgid %v", n, test.Get("msgid"))
	}
	out, err := marshal.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := marshal.Load(out)
	if d := cmp.Diff(v, again); err != nil || d != "" {
		t.Errorf("%v, -read +written and read\n%s", err, d)
	}
}

// TestRefused has what is not to be read; every beginning of what is right is among it.
func TestRefused(t *testing.T) {
	deep := "\x04\x08" + strings.Repeat("[\x06", 200) + "0"
	for _, in := range []string{
		"", "\x04", "\x03\x00T", "\x04\x09T", "\x04\x08TT", "\x04\x08@\x00", "\x04\x08;\x00", "\x04\x08I0\x00", "\x04\x08e:\x06a0",
		"\x04\x08f\x07x", "\x04\x08[\x04\xff\xff\xff\x7f", "\x04\x08\"\x03\xff\xff\xff", "\x04\x08{\xff\x00", "\x04\x08l*\x06\x00\x00", deep,
	} {
		if v, err := marshal.Load([]byte(in)); !errors.Is(err, marshal.ErrSyntax) {
			t.Errorf("%.40q gives %v, %v", in, v, err)
		}
	}
	for _, tt := range ruby {
		in, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		for n := range in {
			if v, err := marshal.Load(in[:n]); err == nil {
				t.Errorf("the first %d bytes of %s give %v", n, tt.name, v)
			}
		}
	}
	loop := &marshal.Array{}
	at := loop
	for range 200 {
		next := &marshal.Array{}
		at.Items, at = []any{next}, next
	}
	for _, v := range []any{loop, 'a', &marshal.Object{Vars: []marshal.Pair{{Key: 1}}}} {
		if b, err := marshal.Append([]byte("kept"), v); err == nil || string(b) != "kept" {
			t.Errorf("%v is written as %q", v, b)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, tt := range ruby {
		if in, err := hex.DecodeString(tt.hex); err == nil {
			f.Add(in)
		}
	}
	if in, err := os.ReadFile(filepath.Join("testdata", "qinfo")); err == nil {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var before, after runtime.MemStats
		if len(in) > 1000 {
			runtime.ReadMemStats(&before)
		}
		v, err := marshal.Load(in)
		if len(in) > 1000 {
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20+1000*uint64(len(in)) {
				t.Errorf("%d bytes for %d", after.TotalAlloc-before.TotalAlloc, len(in))
			}
		}
		if err != nil {
			return
		}
		out, err := marshal.Append(nil, v)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := marshal.Load(out)
		if err != nil {
			t.Fatalf("what was written as %q cannot be read: %v", out, err)
		}
		out2, err := marshal.Append(nil, again)
		if err != nil || !bytes.Equal(out, out2) {
			t.Fatalf("written as %q, and then as %q, %v", out, out2, err)
		}
	})
}
