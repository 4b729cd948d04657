package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
