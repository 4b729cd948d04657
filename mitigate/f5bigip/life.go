package f5bigip

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"offpath/mitigate"
)

// lifeKey is the record of the data group of the life.
const lifeKey = "change"

// life tells whether the BIG-IP has what was last written there: a change that it does
// not have the number of, or an older number than the last, is another life.
type life struct {
	mu sync.Mutex
	// possible are the numbers that may be there: the last that was written, and those of
	// changes of which it is not known what became of them. nil: it was not asked yet.
	possible map[string]bool
	writes   int    // begun and ended
	name     string // of this life
}

// next is the number of a change that begins now.
func (l *life) next() string {
	number := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if l.possible != nil {
		l.possible[number] = true
	}
	return number
}

// ended says what became of a change.
func (l *life) ended(number string, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if done && l.possible != nil {
		l.possible = map[string]bool{number: true}
	}
}

// seen names the life in which a number was read, when as many writes had been; while others
// begin or end, it says nothing.
func (l *life) seen(number string, writes int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name == "" || writes == l.writes && !l.possible[number] {
		l.name, l.possible = "life "+number+" "+rand.Text()[:6], map[string]bool{number: true}
	}
	return l.name
}

func (l *life) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

// Identity implements [mitigate.Target]: it names what the BIG-IP holds, by the number of
// the last change. Its clock is the one that its web server dates answers by.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	writes := t.life.count()
	g, err := t.read(ctx, lifeGroup, typeString)
	if err != nil {
		return mitigate.Identity{}, err
	}
	var number string
	for _, r := range g.Records {
		if r.Name == lifeKey {
			const longest = 40
			number = r.Data[:min(longest, len(r.Data))]
		}
	}
	return mitigate.Identity{Process: t.life.seen(number, writes), Version: versionOf(g.Link), Skew: t.client.skew.Load()}, nil
}

// versionOf is the version of BIG-IP in the link that every object of iControl REST has.
func versionOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	const longest = 32
	v := u.Query().Get("ver")
	return v[:min(longest, len(v))]
}

// Prepared implements [mitigate.Target]: the data groups and the iRule. Whether a virtual
// server has the iRule is not asked: it may stand where this user can't look.
func (t *Target) Prepared(ctx context.Context) error {
	for _, g := range groups {
		if _, err := t.read(ctx, g.Name, g.Type); err != nil {
			return err
		}
	}
	answer, err := t.client.do(ctx, http.MethodGet, "/mgmt/tm/ltm/rule/~"+t.options.Partition+"~"+ruleName, "", nil)
	if err != nil {
		return prepared(err)
	}
	if !strings.Contains(string(answer), setupMark) {
		return fmt.Errorf("%w: iRule %s is of another version of offpath", ErrNotPrepared, ruleName)
	}
	return nil
}
