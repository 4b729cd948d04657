package cloudflare

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// perPage is the most items of a page that Cloudflare gives.
const perPage = 500

// maxItems is the most items of a list that are read, with those of others.
const maxItems = 100_000

// maxChange is how many items one request adds or removes.
const maxChange = 5000

// plainID is what ids are that stand in paths.
var plainID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// listIDs are the ids of the account's lists of addresses, by name.
func (c *client) listIDs(ctx context.Context) (map[string]string, error) {
	var lists []struct{ ID, Name, Kind string }
	if _, err := c.do(ctx, order{method: http.MethodGet, path: "/accounts/" + c.account + "/rules/lists"}, &lists); err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(lists))
	for _, l := range lists {
		if l.Kind == "ip" && plainID.MatchString(l.ID) {
			ids[l.Name] = l.ID
		}
	}
	return ids, nil
}

// item is one of a list.
type item struct {
	ID      string
	IP      string
	Comment string
}

// items are those of a list; with search, those whose text begins so.
func (c *client) items(ctx context.Context, list, search string) (all []item, err error) {
	query := url.Values{"per_page": {strconv.Itoa(perPage)}}
	if search != "" {
		query.Set("search", search)
	}
	seen := make(map[string]bool) // cursors
	for {
		var page []item
		after, err := c.do(ctx, order{method: http.MethodGet, path: c.itemsPath(list) + "?" + query.Encode()}, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		switch {
		case after == "":
			return all, nil
		case seen[after] || len(all) > maxItems || len(page) == 0:
			return nil, fmt.Errorf("cloudflare: the items of list %s don't end", list)
		}
		seen[after] = true
		query.Set("cursor", after)
	}
}

func (c *client) itemsPath(list string) string {
	return "/accounts/" + c.account + "/rules/lists/" + list + "/items"
}

// newItem is one that is to be added.
type newItem struct {
	IP      string `json:"ip"`
	Comment string `json:"comment"`
}

// add begins to put items into a list; those that are there get the comment.
func (c *client) add(ctx context.Context, list string, items []newItem) (operation string, err error) {
	return c.begin(ctx, order{method: http.MethodPost, path: c.itemsPath(list), in: items})
}

// remove begins to take items out of a list, by their ids.
func (c *client) remove(ctx context.Context, list string, ids []string) (operation string, err error) {
	type id struct {
		ID string `json:"id"`
	}
	body := struct {
		Items []id `json:"items"`
	}{make([]id, len(ids))}
	for i := range ids {
		body.Items[i].ID = ids[i]
	}
	return c.begin(ctx, order{method: http.MethodDelete, path: c.itemsPath(list), in: body})
}

func (c *client) begin(ctx context.Context, o order) (operation string, err error) {
	var result struct {
		Operation string `json:"operation_id"`
	}
	if _, err := c.do(ctx, o, &result); err != nil {
		return "", err
	}
	if !plainID.MatchString(result.Operation) {
		return "", fmt.Errorf("cloudflare: %s %s: the answer names no operation", o.method, o.path)
	}
	return result.Operation, nil
}

// await waits until an operation has ended. That it failed is a *refusal.
func (c *client) await(ctx context.Context, operation string, pause time.Duration) error {
	for longest := 8 * pause; ; pause = min(2*pause, longest) {
		var o struct{ ID, Status, Error string }
		if _, err := c.do(ctx, order{method: http.MethodGet, path: "/accounts/" + c.account + "/rules/lists/bulk_operations/" + operation}, &o); err != nil {
			return err
		}
		if o.ID != operation {
			return fmt.Errorf("cloudflare: asked about operation %s, Cloudflare answers about %q", operation, cut(o.ID))
		}
		switch o.Status {
		case "completed":
			return nil
		case "failed":
			return fmt.Errorf("cloudflare: %w", &refusal{Message: cut(o.Error)})
		case "pending", "running":
		default:
			return fmt.Errorf("cloudflare: operation %s is %q", operation, cut(o.Status))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cloudflare: operation %s is still %s: %w", operation, o.Status, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// held is an item of offpath's.
type held struct {
	record
	item string // its id; "": not known
}

// holdings are the verdicts among items, and the networks of all else.
func holdings(items []item) (ours map[netip.Prefix]held, others map[netip.Prefix]bool) {
	ours, others = make(map[netip.Prefix]held), make(map[netip.Prefix]bool)
	for _, it := range items {
		p, ok := parseNetwork(it.IP)
		if !ok {
			continue // of a kind that is not known here
		}
		if r, ok := parseRecord(it.Comment); ok && it.ID != "" {
			ours[p] = held{r, it.ID}
		} else {
			others[p] = true
		}
	}
	return ours, others
}
