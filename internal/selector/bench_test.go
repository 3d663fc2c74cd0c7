package selector_test

import (
	"strings"
	"testing"

	"stompserver/internal/selector"
)

// views are a message as the broker has it: a short list, searched from the front.
type views []struct {
	name  string
	value []byte
}

func (v *views) Header(name string) ([]byte, bool) {
	for i := range *v {
		if (*v)[i].name == name {
			return (*v)[i].value, true
		}
	}
	return nil, false
}

func viewsOf(pairs ...string) *views {
	v := make(views, len(pairs)/2)
	for i := range v {
		v[i].name, v[i].value = pairs[2*i], []byte(pairs[2*i+1])
	}
	return &v
}

var order = []string{"destination", "/queue/orders", "content-length", "512", "color", "red", "size", "42",
	"price", "12.50", "region", "eu-west", "timestamp", "1700000000000"}

var benchmarks = []struct{ name, text string }{
	{"equal", "color = 'red'"},
	{"typical", "color = 'red' AND size > 10"},
	{"arithmetic", "price * size / 2 >= 100"},
	{"between", "size BETWEEN 10 AND 50"},
	{"in few", "region IN ('us-east', 'us-west', 'eu-west')"},
	{"in many", "region IN ('" + strings.Join(strings.Split(strings.Repeat("x ", 99), " "), "','") + "','eu-west')"},
	{"like ends", "region LIKE 'eu-%'"},
	{"like inside", "destination LIKE '%/o_d%s'"},
	{"jms", "JMSPriority >= 4 AND JMSDeliveryMode = 'PERSISTENT'"},
	{"or", "color = 'blue' OR color = 'green' OR NOT size <= 10"},
	{"unknown", "absent > 3 AND size > 10"},
}

func BenchmarkMatches(b *testing.B) {
	env := viewsOf(order...)
	for _, bm := range benchmarks {
		s, err := selector.Parse(bm.text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Matches(env)
			}
		})
	}
}

// BenchmarkWorst is what a client can do to a message of one header of 64 KiB.
func BenchmarkWorst(b *testing.B) {
	text := strings.Repeat("a", 64<<10)
	env := viewsOf("x", text)
	for _, bm := range []struct{ name, text string }{
		{"like literal", "x LIKE '%" + strings.Repeat("a", 30<<10) + "b%'"},
		{"like any", "x LIKE '%" + strings.Repeat("a", 31) + "_" + strings.Repeat("a", 31) + "b%'"},
		{"like many any", "x LIKE '" + strings.Repeat("%_a", 20<<10) + "%b%'"},
		{"all likes", "x LIKE '%c%'" + strings.Repeat(" OR x LIKE '%"+strings.Repeat("a", 31)+"_"+strings.Repeat("a", 31)+"b%'", 99)},
		{"number", "x > 1"},
		{"names", "x = 'b'" + strings.Repeat(" OR absent = 'b'", 999)},
	} {
		s, err := selector.Parse(bm.text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Matches(env)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := selector.Parse("color = 'red' AND size > 10"); err != nil {
			b.Fatal(err)
		}
	}
}
