package pipeline

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAProcedureIsServiceAndMethod(t *testing.T) {
	for path, want := range map[string]string{
		"/bank.v1.Accounts/Transfer":          "bank.v1.Accounts/Transfer",
		"/a/b":                                "a/b",
		"/accounts/12345678":                  "",
		"/login":                              "",
		"/a/b/c":                              "",
		"//b":                                 "",
		"/a/":                                 "",
		"/a/b@example":                        "",
		"a/b":                                 "",
		"":                                    "",
		"/" + strings.Repeat("a", 200) + "/b": "",
	} {
		assert.Equal(t, want, procedure(path), path)
	}
}
