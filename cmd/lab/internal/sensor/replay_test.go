package sensor

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheFirstDifferenceBetweenRunsIsNamed(t *testing.T) {
	for _, c := range []struct {
		name           string
		live, replayed []string
		want           string
	}{
		{"the same", []string{"a", "b"}, []string{"a", "b"}, ""},
		{"another order", []string{"a", "b"}, []string{"b", "a"}, "line 1 is a in the live run and b from the recording"},
		{"one less", []string{"a", "b"}, []string{"a"}, "line 2 is only in the live run: b"},
		{"one more", []string{"a"}, []string{"a", "b"}, "line 2 is only in the recording: b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compare(c.live, c.replayed)
			assert.Equal(t, &Comparison{len(c.live), len(c.replayed), c.want}, got)
		})
	}
}
