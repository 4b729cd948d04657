package webhook

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"offpath/detect"
)

// Bounds of what is taken of an answer.
const (
	maxAnswerHead = 64 << 10
	maxAnswerBody = 1 << 10
	maxWords      = 200 // runes of it that are shown
	maxRetryAfter = time.Hour
)

// answer is what the receiver said.
type answer struct {
	status   int
	words    string        // of its body, of one line
	receiver string        // its name for its state
	off      bool          // turned off there
	software string        // Server
	retry    time.Duration // Retry-After; 0: none
	date     time.Time     // its clock; zero: not said
}

// refusedError says that the receiver understood a message and does not take it.
type refusedError struct{ answer answer }

func (e *refusedError) Error() string { return "receiver answered " + e.answer.String() }

func (a *answer) String() string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))
	if a.words != "" {
		text += ": " + a.words
	}
	return text
}

// read takes what there is to take of a response.
func read(r *http.Response, now time.Time) answer {
	a := answer{
		status:   r.StatusCode,
		receiver: token(r.Header.Get("Offpath-Receiver")),
		off:      strings.EqualFold(strings.TrimSpace(r.Header.Get("Offpath-Mode")), string(detect.ModeOff)),
		software: line(r.Header.Get("Server"), 64),
		retry:    retryAfter(r.Header.Get("Retry-After"), now),
	}
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		a.date = date
	}
	// A body that breaks off has said enough.
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxAnswerBody))
	if a.status < 200 || a.status > 299 {
		a.words = line(string(body), maxWords)
	}
	return a
}

// retryAfter is the time that a header Retry-After asks for (RFC 9110 section 10.2.3):
// seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// token is a name of up to 64 printable ASCII characters; "" if it is none.
func token(text string) string {
	text = strings.TrimSpace(text)
	for _, c := range []byte(text) {
		if c < 0x21 || c > 0x7e {
			return ""
		}
	}
	if len(text) > 64 {
		return ""
	}
	return text
}

// line is text as one line of at most n runes that a terminal would simply show.
func line(text string, n int) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(strings.ToValidUTF8(text, "?")) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		for _, r := range word {
			if !unicode.IsPrint(r) {
				r = '?'
			}
			b.WriteRune(r)
		}
	}
	if runes := []rune(b.String()); len(runes) > n {
		return string(runes[:n]) + "…"
	}
	return b.String()
}
