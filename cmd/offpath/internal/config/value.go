package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setFromText sets a field from an environment variable: lists are separated
// by commas, targets, overrides and policies are YAML lists.
func setFromText(field reflect.Value, text string) error {
	switch field.Type() {
	case typeTargets:
		list, err := targets.fromText(text)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(list))
		return nil
	case typeOverrides:
		list, err := overrides.fromText(text)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(list))
		return nil
	case typePolicies:
		list, err := policies.fromText(text)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(list))
		return nil
	case typeStrings, typePrefixes:
		list := reflect.MakeSlice(field.Type(), 0, 0)
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			item := reflect.New(field.Type().Elem()).Elem()
			if err := setScalar(item, part); err != nil {
				return err
			}
			list = reflect.Append(list, item)
		}
		setList(field, list)
		return nil
	}
	return setScalar(field, strings.TrimSpace(text))
}

// setList sets a field; an empty list is nil, as in the defaults.
func setList(field, list reflect.Value) {
	if list.Len() == 0 {
		list = reflect.Zero(field.Type())
	}
	field.Set(list)
}

// setScalar sets a field from the text of one value. Its errors quote the
// text (unless it may be a secret) and say what to write instead.
func setScalar(field reflect.Value, text string) error {
	switch field.Type() {
	case typeDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration; write a number with its unit, such as 90s, 15m or 24h", text)
		}
		field.SetInt(int64(d))
		return nil
	case typeSecret:
		secret, err := NewSecret(text)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(secret))
		return nil
	case typePrefixes.Elem():
		prefix, err := ParseNetwork(text)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(prefix))
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a whole number; write digits alone", text)
		}
		field.SetInt(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || x-x != 0 { // NaN and infinities
			return fmt.Errorf("%q is not a number; write one such as 0.5", text)
		}
		field.SetFloat(x)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		field.SetBool(b)
	default:
		panic("config: setting of unsupported type " + field.Type().String())
	}
	return nil
}

// ParseNetwork reads an address or a network in CIDR notation; bits beyond
// the prefix length are an error, as they usually mean a slip of the pen.
// IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is IPv4, as clients' addresses are.
func ParseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network; write it as 192.0.2.1 or 192.0.2.0/24", text)
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network; write it as 192.0.2.1 or 192.0.2.0/24", text)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its prefix length; did you mean %s?", text, prefix.Masked())
	}
	if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	return prefix, nil
}
