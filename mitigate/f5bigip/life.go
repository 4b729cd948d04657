package f5bigip

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"offpath/mitigate"
)

// lifeKey is the record of the data group of the life.
const lifeKey = "change"

// Identity implements [mitigate.Target]: it names what the BIG-IP holds, by the number of
// the last change. Its clock is the one that its web server dates answers by.
func (t *Target) Identity(ctx context.Context) (mitigate.Identity, error) {
	writes := t.life.Writes()
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
	return mitigate.Identity{Process: t.life.Seen(number, writes), Version: versionOf(g.Link), Skew: t.client.skew.Load()}, nil
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
