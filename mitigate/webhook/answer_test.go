package webhook

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The example of the documentation of Standard Webhooks, and what its reference library
// makes of it.
func TestSignatureIsThatOfStandardWebhooks(t *testing.T) {
	key, err := Key([]byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	require.NoError(t, err)
	assert.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`)))
}

func TestMessagesAreCutAtTheirBounds(t *testing.T) {
	of := func(sizes ...int) (counts []int) {
		events := make([]event, len(sizes))
		for i, n := range sizes {
			events[i].Verdict = make([]byte, n)
		}
		total := 0
		for _, b := range batches(events) {
			counts = append(counts, len(b))
			total += len(b)
		}
		assert.Equal(t, len(sizes), total)
		return counts
	}
	assert.Empty(t, of())
	assert.Equal(t, []int{500, 500, 1}, of(make([]int, 1001)...))
	assert.Equal(t, []int{2, 1}, of(maxBody/2-300, maxBody/2-300, 1000))
	assert.Equal(t, []int{1, 1, 1}, of(2*maxBody, 2*maxBody, 1))
}

// FuzzAnswer reads hostile answers: what is taken of them is short and of one line.
func FuzzAnswer(f *testing.F) {
	f.Add(400, "12", "receiver", "off", "nginx", "no such account")
	f.Add(503, "Fri, 31 Dec 1999 23:59:59 GMT", "a b", "", "\x1b[31m", "\xff\xfe\n\n")
	f.Add(200, "18446744073709551615", strings.Repeat("x", 65), " OFF ", strings.Repeat("é", 65), strings.Repeat("\u202e", 300))
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, status int, retry, name, mode, server, body string) {
		a := read(&http.Response{
			StatusCode: status,
			Header:     http.Header{"Retry-After": {retry}, "Offpath-Receiver": {name}, "Offpath-Mode": {mode}, "Server": {server}, "Date": {retry}},
			Body:       io.NopCloser(strings.NewReader(body)),
		}, now)
		assert.GreaterOrEqual(t, a.retry, time.Duration(0))
		assert.LessOrEqual(t, a.retry, maxRetryAfter)
		assert.LessOrEqual(t, len(a.receiver), 64)
		assert.LessOrEqual(t, utf8.RuneCountInString(a.words), maxWords+1)
		assert.LessOrEqual(t, utf8.RuneCountInString(a.software), 65)
		for _, r := range a.receiver + a.words + a.software {
			assert.True(t, unicode.IsPrint(r) && r != utf8.RuneError || r == '\ufffd', "%q", r)
		}
	})
}
