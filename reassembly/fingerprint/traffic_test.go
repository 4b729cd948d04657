package fingerprint_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/fingerprint"
	"offpath/reassembly/message"
)

// The header fields of real clients, logged in 2012 (SuperCowPowers' data_hacking, MIT).
func TestProgramsInRealTrafficHaveFewCoresAndNoneInCommon(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "facts", "datasets", "header-order-zeek", "http_headers.log")
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there", path)
	}
	require.NoError(t, err)
	defer file.Close()

	var names fingerprint.Names
	requests := 0
	coresOf := map[string]map[string]bool{} // by masked user agent
	looseOf := map[string]map[string]bool{}
	raw := map[string]map[string]bool{} // all names in their order, by masked user agent
	canonical := map[string]string{}
	put := func(m map[string]map[string]bool, key, value string) {
		if m[key] == nil {
			m[key] = map[string]bool{}
		}
		m[key][value] = true
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 4)
		if len(parts) < 4 || parts[1] != "client" {
			continue
		}
		fields, order := eventsOf(t, parts[3])
		if fields == nil {
			continue
		}
		requests++
		text := string(names.AppendCore(nil, fields))
		core := names.Core(fields)
		if before, ok := canonical[core]; ok {
			require.Equal(t, before, text, "two strings, one fingerprint")
		}
		canonical[core] = text
		agent := text[strings.LastIndexByte(text, '\n')+1:]
		put(coresOf, agent, core)
		put(looseOf, agent, names.Loose(fields))
		put(raw, agent, order)
	}
	require.NoError(t, lines.Err())
	pairs, loose, orders := 0, 0, 0
	for agent, cores := range coresOf {
		pairs, loose, orders = pairs+len(cores), loose+len(looseOf[agent]), orders+len(raw[agent])
	}
	assert.Equal(t, 2283, requests)
	assert.Len(t, coresOf, 16, "masked user agents")
	assert.Equal(t, 28, pairs, "cores: what a program has more than one of is orders of its own and accept-encoding")
	assert.Equal(t, 25, loose)
	assert.Equal(t, 88, orders, "of all names, cookie and referer among them")
	assert.Len(t, canonical, pairs, "no core is of two programs")
}

// eventsOf reads a list of objects of one member each.
func eventsOf(t *testing.T, text string) (fields []message.Field, order string) {
	var list []map[string]string
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil, "" // Zeek's script writes some values with escapes that are none
	}
	for _, event := range list {
		for name, value := range event {
			fields = append(fields, message.Field{Name: []byte(name), Value: []byte(value)})
			order += name + ","
		}
	}
	return fields, order
}
