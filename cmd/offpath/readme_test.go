package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/config"
	roles "offpath/detect/login"
	"offpath/reassembly"
)

func TestTheREADMEListsEveryAnomaly(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "| anomaly | there was |")
	require.True(t, found)
	table, _, _ := strings.Cut(rest, "\n\n")
	var listed []string
	for _, line := range strings.Split(table, "\n") {
		names, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		listed = append(listed, regexp.MustCompile("[a-z0-9_]{3,}").FindAllString(names, -1)...)
	}
	assert.ElementsMatch(t, (^reassembly.Anomalies(0)).Names(), listed)
}

func TestTheREADMEListsEveryRole(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "as in `offpath.endpoint`;")
	require.True(t, found)
	list, _, _ := strings.Cut(rest, ";")
	assert.ElementsMatch(t, roles.Roles, regexp.MustCompile("[a-z_]+").FindAllString(list, -1))
}

func TestTheConfigurationsInTheREADMEAreRight(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	require.GreaterOrEqual(t, len(blocks), 2)
	for _, b := range blocks {
		_, err := config.Load(save(t, "readme.yaml", b[1]), nil)
		assert.NoError(t, err, "%s", b[1])
	}
}
