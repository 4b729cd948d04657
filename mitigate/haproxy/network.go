package haproxy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"offpath/mitigate"
)

// networkChange is what the line of a network is to be; without an id it is to
// go.
type networkChange struct {
	prefix netip.Prefix
	record record
}

// changeNetworks brings changes into the network map, and takes out what is over.
func (t *Target) changeNetworks(ctx context.Context, changes []networkChange) ([]mitigate.Rejection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, err := t.heldNetworks(ctx)
	if err != nil {
		return nil, err
	}
	wanted := maps.Clone(held)
	// What has expired makes room.
	now := time.Now().Unix()
	maps.DeleteFunc(wanted, func(_ netip.Prefix, r record) bool { return int64(r.expires) <= now })
	var rejections []mitigate.Rejection
	for _, c := range changes {
		_, there := wanted[c.prefix]
		switch {
		case c.record.id == 0:
			delete(wanted, c.prefix)
		case !there && len(wanted) >= t.options.MaxNetworks:
			rejections = append(rejections, t.networksFull(c.record.id))
		default:
			wanted[c.prefix] = c.record
		}
	}
	if maps.Equal(held, wanted) {
		return rejections, nil
	}
	return rejections, t.writeNetworks(ctx, wanted)
}

// syncNetworks makes the network map hold exactly what is wanted.
func (t *Target) syncNetworks(ctx context.Context, wanted map[netip.Prefix]record, report *mitigate.SyncReport) ([]mitigate.Rejection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var rejections []mitigate.Rejection
	if over := len(wanted) - t.options.MaxNetworks; over > 0 {
		// Those that end first stay out.
		order := slices.SortedFunc(maps.Keys(wanted), func(a, b netip.Prefix) int {
			return int(int64(wanted[a].expires) - int64(wanted[b].expires))
		})
		for _, p := range order[:over] {
			rejections = append(rejections, t.networksFull(wanted[p].id))
			delete(wanted, p)
		}
	}
	t.networks = nil
	held, err := t.heldNetworks(ctx)
	if err != nil {
		return nil, err
	}
	report.Held += len(held)
	for p := range held {
		if _, ok := wanted[p]; !ok {
			report.Removed++
		}
	}
	for p, r := range wanted {
		if held[p] != r {
			report.Set++
		}
	}
	if maps.Equal(held, wanted) {
		return rejections, nil
	}
	return rejections, t.writeNetworks(ctx, wanted)
}

func (t *Target) networksFull(id mitigate.ID) mitigate.Rejection {
	return mitigate.Rejection{ID: id, Answer: fmt.Sprintf("the map of networks is full (%d)", t.options.MaxNetworks)}
}

// heldNetworks is the image of the network map, read once per full comparison.
// Lines that are no records of ours are forgotten, and so removed by the next
// writing.
func (t *Target) heldNetworks(ctx context.Context) (map[netip.Prefix]record, error) {
	if t.networks != nil {
		return t.networks, nil
	}
	dump, err := t.client.ask(ctx, "show", "map", t.file(networkMap))
	if err != nil {
		return nil, prepared(err)
	}
	held := make(map[netip.Prefix]record)
	for line := range strings.Lines(dump) {
		key, value, ok := parseMapLine(strings.TrimSuffix(line, "\n"))
		prefix, err := netip.ParsePrefix(key)
		r, isRecord := parseLine(value)
		if ok && err == nil && isRecord {
			held[prefix] = r
		}
	}
	t.networks = held
	return held, nil
}

func (t *Target) writeNetworks(ctx context.Context, wanted map[netip.Prefix]record) error {
	// Until it is written whole, what is there is not known.
	t.networks = nil
	if err := t.replaceMap(ctx, networkMap, networkLines(wanted)); err != nil {
		return err
	}
	t.networks = wanted
	return nil
}

// networkLines are the lines of the network map. HAProxy finds the narrowest network of an
// address, and heeds the first record of its line that is not over. A second one, of a wider
// network that keeps somebody out, is for the addresses that the narrower hides from it: it
// comes first where the narrower keeps nobody out, else behind it, if it lasts longer.
func networkLines(of map[netip.Prefix]record) []string {
	lengths := map[int]bool{}
	for p, r := range of {
		if r.firm() {
			lengths[p.Bits()] = true
		}
	}
	longest := slices.SortedFunc(maps.Keys(lengths), func(a, b int) int { return b - a })
	lines := make([]string, 0, len(of))
	for p, r := range of {
		value := r.mapValue()
		for _, bits := range longest {
			if bits >= p.Bits() {
				continue
			}
			wider, ok := of[netip.PrefixFrom(p.Addr(), bits).Masked()]
			if !ok || !wider.firm() || r.firm() && wider.expires <= r.expires {
				continue
			}
			if r.firm() {
				value += ":" + wider.mapValue()
			} else {
				value = wider.mapValue() + ":" + value
			}
			break
		}
		lines = append(lines, p.String()+" "+value)
	}
	slices.Sort(lines)
	return lines
}

// SetAllow implements [mitigate.Target]. The operator's own file allow.map is
// not touched.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	lines := make([]string, 0, len(allow))
	for _, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds an invalid network")
		}
		lines = append(lines, p.Masked().String()+" 1")
	}
	slices.Sort(lines)
	return t.replaceMap(ctx, allowLiveMap, slices.Compact(lines))
}

func (t *Target) file(name string) string { return t.options.MapDir + "/" + name }

// replaceMap writes a map anew. Requests see the old one until the commit, and
// then the new one.
func (t *Target) replaceMap(ctx context.Context, name string, lines []string) error {
	_, size, err := t.sizes(ctx)
	if err != nil {
		return err
	}
	file := t.file(name)
	text, err := t.client.ask(ctx, "prepare", "map", file)
	if err != nil {
		return prepared(err)
	}
	_, version, ok := strings.Cut(text, "New version created: ")
	version = "@" + strings.TrimSpace(version)
	if !ok || !plain(version) {
		return fmt.Errorf("prepare map %s: %q", file, text)
	}
	if err := t.fillMap(ctx, file, version, lines, size); err != nil {
		// Half a generation takes memory and does nothing else.
		t.client.ask(ctx, "clear", "map", version, file)
		return err
	}
	if _, err := t.client.ask(ctx, "commit", "map", version, file); err != nil {
		return prepared(err)
	}
	return nil
}

func (t *Target) fillMap(ctx context.Context, file, version string, lines []string, size int) error {
	add, err := command("add", "map", version, file)
	if err != nil {
		return err
	}
	var payload strings.Builder
	send := func() error {
		answers, err := t.client.run(ctx, []string{add}, payload.String())
		payload.Reset()
		if err != nil {
			return err
		}
		if a := answers[0]; a.refused() {
			return fmt.Errorf("add map %s: %s", file, firstLine(a.text))
		}
		return nil
	}
	for _, line := range lines {
		if payload.Len()+len(line)+1 > size {
			if err := send(); err != nil {
				return err
			}
		}
		payload.WriteString(line)
		payload.WriteByte('\n')
	}
	if payload.Len() == 0 {
		return nil
	}
	return send()
}
