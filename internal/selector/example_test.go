package selector_test

import (
	"errors"
	"fmt"

	"stompserver/internal/selector"
)

// headers are the simplest Env.
type headers map[string][]byte

func (h headers) Header(name string) ([]byte, bool) {
	v, ok := h[name]
	return v, ok
}

func Example() {
	s, err := selector.Parse("color='red' and (size > 10)")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s)
	fmt.Println(s.Matches(headers{"color": []byte("red"), "size": []byte("10.5")}))
	fmt.Println(s.Matches(headers{"color": []byte("red")}))
	// Output:
	// color = 'red' AND size > 10
	// true
	// false
}

func ExampleError() {
	_, err := selector.Parse("color = 'red' AND size => 10")
	var e *selector.Error
	if errors.As(err, &e) {
		fmt.Println(e.Reason)
		fmt.Println(e.Excerpt())
	}
	// Output:
	// greater or equal is written >=
	// color = 'red' AND size => 10
	//                        ^
}
