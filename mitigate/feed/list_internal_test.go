package feed

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func FuzzRequest(f *testing.F) {
	f.Add("/f5", "family=4&lines=10&page=2&category=a")
	f.Add("/edl", "lines=1000000&page=1000000")
	f.Fuzz(func(t *testing.T, path, query string) {
		q, err := parseRequest(path, query)
		if err == nil {
			assert.True(t, isCategory(q.category))
			assert.True(t, q.page >= 1 && q.lines >= 0 && q.page*max(q.lines, 1) > 0)
		}
	})
}
