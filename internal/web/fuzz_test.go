package web

import (
	"net/url"
	"testing"
)

// FuzzQuestion: what is read of a query is within its bounds, and is read again from what it
// says.
func FuzzQuestion(f *testing.F) {
	for _, s := range []string{"", "wait=30s", "wait=5", "browse=1", "browse=0&wait=1ms", "wait=-1s", "wait=%zz", "wait=1h", "wait=1&wait=2", "a=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseQuestion(query)
		if err != nil {
			return
		}
		if q.wait < 0 || q.wait > longest || q.browse && q.wait > 0 {
			t.Errorf("%q is %+v", query, q)
		}
		again := url.Values{"wait": {q.wait.String()}}
		if q.browse {
			again.Set("browse", "1")
		}
		if r, err := parseQuestion(again.Encode()); err != nil || r != q {
			t.Errorf("%q is %+v, and %q is %+v, %v", query, q, again.Encode(), r, err)
		}
	})
}
