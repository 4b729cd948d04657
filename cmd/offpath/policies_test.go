package main_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyed makes a capture in which one API key moves money from address after address
// and another from one.
func keyed(t *testing.T) *synth {
	t.Helper()
	s := newSynth(t)
	for i := range 80 {
		c := s.connect(fmt.Sprintf("192.0.2.%d:%d", i+1, 30000+i))
		key := "key-that-was-found-in-an-app-0001"
		if i%2 == 1 {
			key = fmt.Sprintf("key-of-a-customer-%016d", i%30)
		}
		body := `{"to":"DE02120300000000202051","amount":"1.00"}`
		c.exchange(fmt.Sprintf("POST /v1/transfers HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: tool/1\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body),
			"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		c.close()
		s.now = s.now.Add(500 * time.Millisecond)
	}
	return s
}

func TestThePoliciesOfTheREADMEFindAnAbusedKeyInACapture(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var example []byte
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		if strings.Contains(string(block[1]), "transfers-per-key") {
			example = block[1]
		}
	}
	require.NotEmpty(t, example)
	capture, config := keyed(t).save("keyed.pcapng"), save(t, "c.yaml", example)
	out, r := replayAll(t, "--config", config, capture)
	assert.Equal(t, 0, r.status, r.stderr)
	key := regexp.MustCompile(`"api_key_hash":"([0-9a-f]{16})"`).FindStringSubmatch(out.transactions)
	require.NotNil(t, key)
	require.Equal(t, 1, strings.Count(out.findings, "\n"), out.findings)
	assert.Contains(t, out.findings, `"rule":{"name":"transfers-per-key"}`)
	assert.Contains(t, out.findings, "API key "+key[1]+" by ")
	assert.Contains(t, out.findings, "at POST bank.example/v1/transfers: 31 requests within 60 s. No verdict is made: how many customers it would hit is not known yet.")
	assert.Empty(t, out.verdicts)

	again, _ := replayAll(t, "--config", config, "--workers", "1", save(t, "all.jsonl", []byte(out.transactions)))
	assert.Equal(t, out.findings, again.findings, "the same of the transactions")

	perClient := strings.NewReplacer("per: api_key", "per: [fingerprint, client.ip]", "> 30", "> 0").Replace(string(example))
	out, r = replayAll(t, "--config", save(t, "d.yaml", []byte(perClient)), capture)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Equal(t, 80, strings.Count(out.verdicts, `"action":"rate_limit"`))
	assert.Equal(t, 80, strings.Count(out.verdicts, `"rate":{"requests":10,"per":"60s"},"mode":"monitor"`))
	assert.Equal(t, 80, strings.Count(out.verdicts, `"policy":"transfers-per-key"`))
}
