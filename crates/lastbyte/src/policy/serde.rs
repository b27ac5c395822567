//! [`Policy`] and [`Linger`] in configuration files (feature `serde`).

use std::fmt;

use ::serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use ::serde::ser::{Serialize, SerializeMap, Serializer};

use super::Policy;
use super::name::Name;
use super::values::{self, PolicyError};
use crate::linger::Linger;

impl Serialize for Linger {
    /// Writes the text that [`Linger`] prints: `"wait 5s"`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Linger {
    /// Reads the text that [`Linger`] is read from: `"wait 5s"`, `"off"`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Linger;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a linger option such as \"off\", \"abort\" or \"wait 5s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Linger, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Policy {
    /// Writes a map of what is set, `{"linger": "wait 30s", "stall": "5s"}`; in formats
    /// that people do not read, the text that [`Policy`] prints.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let set: Vec<Name> = self.set().collect();
        let mut map = serializer.serialize_map(Some(1 + set.len()))?;
        map.serialize_entry("linger", &self.linger)?;
        for name in set {
            let key = name.as_str();
            match name {
                Name::Stall => map.serialize_entry(key, &self.stall.map(print))?,
                Name::Confirm => map.serialize_entry(key, &self.confirm)?,
                Name::DrainBytes => map.serialize_entry(key, &self.drain_bytes)?,
                Name::DrainTime => map.serialize_entry(key, &self.drain_time.map(print))?,
                Name::TimeWait => map.serialize_entry(key, &self.time_wait)?,
                Name::ShutDown => {
                    map.serialize_entry(key, &self.shut_down().map(values::side_word))?;
                }
                Name::Receipt => map.serialize_entry(key, &self.receipt)?,
            }
        }
        map.end()
    }
}

fn print(time: std::time::Duration) -> String {
    format!("{time:?}")
}

impl<'de> Deserialize<'de> for Policy {
    /// Reads a map with `linger` and any of the refinements by their getters' names, or
    /// the text that a [`Policy`] is read from.
    ///
    /// Times are text (`"5s"`); `drain_bytes` is a number or text (`"1MiB"`). A key that
    /// is not known, given twice or without effect is an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(TextOrMap)
        } else {
            deserializer.deserialize_str(TextOrMap)
        }
    }
}

struct TextOrMap;

impl<'de> Visitor<'de> for TextOrMap {
    type Value = Policy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy: a map with \"linger\", or text such as \"wait 30s, stall=5s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Policy, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
        let mut linger = None;
        let mut values: Vec<(Name, Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "linger" {
                if linger.is_some() {
                    return Err(de::Error::duplicate_field("linger"));
                }
                linger = Some(map.next_value::<Linger>()?);
                continue;
            }
            let name: Name = key.parse().map_err(de::Error::custom)?;
            if values.iter().any(|(given, _)| *given == name) {
                return Err(de::Error::custom(format_args!("{name} is given twice")));
            }
            values.push((name, map.next_value()?));
        }
        let linger = linger.ok_or_else(|| de::Error::missing_field("linger"))?;
        let mut policy = Policy::new(linger);
        for (name, value) in values {
            name.check(linger).map_err(de::Error::custom)?;
            policy = value
                .set(name, policy)
                .map_err(|error| de::Error::custom(error.of(name)))?;
        }
        Ok(policy)
    }
}

/// What can stand for a refinement in a map.
enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
}

impl Value {
    fn set(self, name: Name, policy: Policy) -> Result<Policy, PolicyError> {
        let is_flag = matches!(name, Name::Confirm | Name::TimeWait | Name::Receipt);
        let text = match self {
            Value::Flag(flag) if is_flag => flag.to_string(),
            Value::Number(number) if !is_flag => number.to_string(),
            Value::Text(text) if !is_flag => text,
            Value::Flag(flag) => return Err(misplaced(name, &flag.to_string())),
            Value::Number(number) => return Err(misplaced(name, &number.to_string())),
            Value::Text(text) => return Err(misplaced(name, &format!("{text:?}"))),
        };
        name.set(policy, &text)
    }
}

fn misplaced(name: Name, value: &str) -> PolicyError {
    let expected = match name {
        Name::Confirm | Name::TimeWait | Name::Receipt => "true or false",
        Name::Stall | Name::DrainTime => "a time such as \"5s\"",
        Name::DrainBytes => "a number of bytes, or text such as \"1MiB\"",
        Name::ShutDown => "\"read\", \"write\" or \"both\"",
    };
    PolicyError::new(format!("{value} is not {expected}"))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a number that is not negative, or text")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Flag(flag))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                u64::try_from(number)
                    .map(Value::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::samples::{LINGERS, policies};

    #[test]
    fn every_linger_is_read_back() {
        for linger in LINGERS {
            let json = serde_json::to_value(linger).unwrap();
            assert_eq!(json, json!(linger.to_string()));
            assert_eq!(serde_json::from_value::<Linger>(json).unwrap(), linger);
        }
    }

    #[test]
    fn every_policy_is_read_back_or_refused() {
        for policy in policies() {
            let json = serde_json::to_string(&policy).unwrap();
            let back = serde_json::from_str::<Policy>(&json);
            let toml = toml::to_string(&policy).unwrap();
            match policy.check() {
                Ok(()) => {
                    assert_eq!(back.unwrap(), policy, "{json}");
                    assert_eq!(toml::from_str::<Policy>(&toml).unwrap(), policy, "{toml}");
                }
                Err(error) => {
                    let back = back.unwrap_err().to_string();
                    assert!(back.starts_with(&error.to_string()), "{json}: {back}");
                }
            }
        }
    }

    /// Not by a map, which such formats would have to describe.
    #[test]
    fn a_format_that_people_do_not_read_has_the_text() {
        for policy in policies().into_iter().filter(|p| p.check().is_ok()) {
            let bytes = postcard::to_allocvec(&policy).unwrap();
            assert_eq!(postcard::from_bytes::<Policy>(&bytes).unwrap(), policy);
        }
    }

    #[test]
    fn text_is_taken_where_a_map_is() {
        let policy: Policy = serde_json::from_value(json!("wait 30s, confirm=true")).unwrap();
        assert_eq!(policy, "wait 30s, confirm=true".parse().unwrap());
        let policy: Policy = toml::from_str(
            "linger = 'wait 30s'\nstall = '5s'\ndrain_bytes = '1MiB'\ntime_wait = false",
        )
        .unwrap();
        let same = "wait 30s, stall=5s, drain_bytes=1MiB, time_wait=false";
        assert_eq!(policy, same.parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |json: serde_json::Value, part: &str| {
            let error = serde_json::from_value::<Policy>(json.clone()).unwrap_err();
            assert!(error.to_string().contains(part), "{json}: {error}");
        };
        wrong(json!(5), "expected a policy: a map with \"linger\"");
        wrong(json!({}), "missing field `linger`");
        wrong(json!({"linger": 5}), "expected a linger option such as");
        wrong(json!({"linger": "wait 5"}), "\"5\" has no unit");
        wrong(
            json!({"linger": "off", "stal": "5s"}),
            "unknown refinement \"stal\"",
        );
        wrong(
            json!({"linger": "off", "stall": 5}),
            "stall: \"5\" has no unit",
        );
        wrong(
            json!({"linger": "off", "stall": true}),
            "stall: true is not a time such as",
        );
        wrong(
            json!({"linger": "off", "stall": "1ms"}),
            "stall: 1ms is shorter",
        );
        wrong(
            json!({"linger": "off", "stall": null}),
            "invalid type: null",
        );
        wrong(
            json!({"linger": "off", "confirm": "yes"}),
            "confirm: \"yes\" is not true or false",
        );
        wrong(
            json!({"linger": "off", "confirm": 1}),
            "confirm: 1 is not true or false",
        );
        wrong(json!({"linger": "off", "drain_bytes": -1}), "-1");
        wrong(json!({"linger": "off", "drain_bytes": 1.5}), "1.5");
        wrong(
            json!({"linger": "off", "drain_bytes": "lots"}),
            "drain_bytes: \"lots\"",
        );
        wrong(
            json!({"linger": "off", "shut_down": "left"}),
            "shut_down: \"left\" is no side",
        );
        wrong(
            json!({"linger": "abort", "confirm": true}),
            "confirm has no effect with abort",
        );
        let twice = r#"{"linger": "off", "stall": "5s", "stall": "5s"}"#;
        let error = serde_json::from_str::<Policy>(twice).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("stall is given twice at line 1"),
            "{error}"
        );
        let twice = r#"{"linger": "off", "linger": "off"}"#;
        let error = serde_json::from_str::<Policy>(twice).unwrap_err();
        assert!(
            error.to_string().contains("duplicate field `linger`"),
            "{error}"
        );
    }
}
