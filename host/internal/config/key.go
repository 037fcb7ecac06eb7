package config

import "strconv"

// KeyUse is a place of the config that names a key. Whether the plugin's
// methods declare it is known only with their descriptors.
type KeyUse struct {
	Key  string
	Path string // as for Source
}

// KeysUsed returns where the policies of s name keys, each use of a key once.
func (s *Subsystem) KeysUsed() []KeyUse {
	var uses []KeyUse
	for _, l := range s.Limits.PerKey {
		uses = append(uses, KeyUse{l.Key, "limits.per_key[" + strconv.Quote(l.Key) + "]"})
	}
	for _, r := range s.Rates {
		if r.Key != "" {
			uses = append(uses, KeyUse{r.Key, "rate[" + strconv.Quote(r.Name) + "].key"})
		}
	}
	for _, b := range s.Breakers {
		if b.Key != "" {
			uses = append(uses, KeyUse{b.Key, "breaker[" + strconv.Quote(b.Key) + "].key"})
		}
	}
	return uses
}

// checkKey returns what is wrong with the name of a key, before the plugin's
// methods are known.
func checkKey(key string) (summary, detail, hint string) {
	if key != "" {
		return "", "", ""
	}
	return "Empty key", `A key is one that the plugin's methods declare, such as "domain".`, ""
}
