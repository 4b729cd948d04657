package feed

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"offpath/mitigate/internal/pull"
)

// defaultCategory is that of lines for F5, where the query names none.
const defaultCategory = "offpath"

// forms write a line of each path; category is for F5 alone.
var forms = map[string]func(b *bytes.Buffer, p netip.Prefix, category string){
	"/plain": func(b *bytes.Buffer, p netip.Prefix, _ string) { fmt.Fprintln(b, p) },
	"/edl": func(b *bytes.Buffer, p netip.Prefix, _ string) {
		if p.IsSingleIP() {
			fmt.Fprintln(b, p.Addr())
		} else {
			fmt.Fprintln(b, p)
		}
	},
	"/f5": func(b *bytes.Buffer, p netip.Prefix, category string) {
		fmt.Fprintf(b, "%s,%d,BL,%s\n", p.Addr(), p.Bits(), category)
	},
}

const (
	maxQuery    = 256       // octets
	maxNumber   = 1_000_000 // of lines and pages
	maxCategory = 64        // octets
)

// request is what a query asks for.
type request struct {
	family   int // 4, 6; 0: both
	lines    int // 0: all
	page     int // from 1
	category string
}

// parseRequest reads a query. What is not known is an error: a list that is not the one
// that was meant would go unnoticed.
func parseRequest(path, query string) (request, error) {
	q := request{page: 1, category: defaultCategory}
	if len(query) > maxQuery {
		return q, fmt.Errorf("the query is longer than %d octets", maxQuery)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, fmt.Errorf("the query can't be read")
	}
	number := func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxNumber {
			return 0, fmt.Errorf("%q is no number from 1 to %d", text, maxNumber)
		}
		return n, nil
	}
	for name, all := range values {
		text := all[0]
		switch {
		case len(all) > 1:
			err = fmt.Errorf("%s is there twice", name)
		case name == "family" && (text == "4" || text == "6"):
			q.family = int(text[0] - '0')
		case name == "lines":
			q.lines, err = number(text)
		case name == "page":
			q.page, err = number(text)
		case name == "category" && path == "/f5" && isCategory(text):
			q.category = text
		default:
			err = fmt.Errorf("%s=%q is not known here", name, text)
		}
		if err != nil {
			return q, err
		}
	}
	if q.page > 1 && q.lines == 0 {
		return q, fmt.Errorf("a page needs lines")
	}
	return q, nil
}

func isCategory(text string) bool {
	return text != "" && len(text) <= maxCategory && !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '-'
	})
}

// choose leaves of the list what was asked for, the newest first.
func (q *request) choose(items []pull.Item) []pull.Item {
	items = slices.DeleteFunc(items, func(it pull.Item) bool { return q.family != 0 && it.Client.Addr().Is4() != (q.family == 4) })
	slices.SortFunc(items, func(a, b pull.Item) int { return cmp.Compare(b.Number, a.Number) })
	if q.lines == 0 {
		return items
	}
	first := min((q.page-1)*q.lines, len(items))
	return items[first:min(first+q.lines, len(items))]
}

// answer serves one form.
func (t *Target) answer(w http.ResponseWriter, r *http.Request, path string, form func(*bytes.Buffer, netip.Prefix, string)) {
	q, err := parseRequest(path, r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	who := pull.Asking(r)
	who.Filter = fmt.Sprintf("%s %d %d", path, q.family, q.lines)
	who.Family, who.Addresses, who.Networks, who.Part = q.family, true, true, q.page > 1
	list, ok := t.List(&who)
	if !ok {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "verdicts are not known yet", http.StatusServiceUnavailable)
		return
	}
	var body bytes.Buffer
	for _, it := range q.choose(list.Items) {
		form(&body, it.Client, q.category)
	}
	sum := sha256.Sum256(body.Bytes())
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `W/"`+hex.EncodeToString(sum[:12])+`"`)
	// The time has whole seconds: within one, two lists would have the same.
	modified := list.Changed
	if time.Since(modified) < time.Second {
		modified = time.Time{}
	}
	r.Header.Del("Range") // a list is whole, or none
	content := pull.Compress(h, r, body.Bytes())
	if h.Get("Content-Encoding") != "" {
		h.Set("Content-Length", strconv.Itoa(len(content)))
	}
	sent := &sent{ResponseWriter: w}
	http.ServeContent(sent, r, "", modified, bytes.NewReader(content))
	if r.Method == http.MethodGet && sent.err == nil && r.Context().Err() == nil {
		t.Took(&list, q.lines*q.page)
	}
}

// sent notes whether an answer could be written.
type sent struct {
	http.ResponseWriter
	err error
}

func (s *sent) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	s.err = cmp.Or(s.err, err)
	return n, err
}
