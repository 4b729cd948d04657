package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// minKey is the shortest key, octets.
const minKey = 16

// keyPrefix marks a secret as Standard Webhooks writes them: base64 follows.
const keyPrefix = "whsec_"

// Key is the key that a secret stands for: what whsec_ is followed by, decoded from
// base64, or else its octets as they are. The error does not repeat the secret.
func Key(secret []byte) ([]byte, error) {
	key := secret
	if text, ok := strings.CutPrefix(string(secret), keyPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("what follows whsec_ in the secret is not base64")
		}
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the key has %d octets; it needs %d or more", len(key), minKey)
	}
	return key, nil
}

// sign makes the header webhook-signature: one signature per key over id, timestamp
// (seconds since the epoch) and body.
func sign(keys [][]byte, id string, timestamp int64, body []byte) string {
	var signatures []string
	for _, key := range keys {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(id + "." + strconv.FormatInt(timestamp, 10) + "."))
		h.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}
