package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheEndpointsSeenAreWrittenAsOpenAPI(t *testing.T) {
	capture := attack(t).save("attack.pcapng")
	folder := t.TempDir()
	write := func(name, workers string) string {
		path := filepath.Join(folder, name)
		r := run(t, "replay", "--sitemap", path, "--workers", workers, capture)
		assert.Equal(t, 0, r.status, r.stderr)
		assert.Empty(t, r.stdout, "no report beside an output")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	text := write("one.json", "1")
	assert.Equal(t, text, write("two.json", "2"), "the map does not depend on the number of workers")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(text), &doc))
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	require.Contains(t, doc.Paths, "/api/login")
	assert.Contains(t, string(doc.Paths["/api/login"]["post"]), `"login"`, "with its role")
	assert.True(t, strings.Contains(write("map.yaml", "1"), "openapi: 3.1.0"))
}

func TestTheFormatOfTheMapIsItsExtension(t *testing.T) {
	r := run(t, "replay", "--sitemap", filepath.Join(t.TempDir(), "map.txt"), "x.pcap")
	assert.Equal(t, 2, r.status)
	assert.Contains(t, r.stderr, "ends neither in .yaml nor in .json")
}
