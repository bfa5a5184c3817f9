//! How a verdict is written and read: `"reset"`, or `{ delay = "300ms" }`. What is wrong is said in those words, where
//! what is derived would speak of variants.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        DeserializeSeed, EnumAccess, Error, IgnoredAny, IntoDeserializer as _, MapAccess, VariantAccess, Visitor,
        value::{EnumAccessDeserializer, MapAccessDeserializer},
    },
};

use super::Verdict;

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Verdict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what to do, such as \"reset\" or { delay = \"300ms\" }")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Verdict, E> {
                Verdict::deserialize(EnumAccessDeserializer::new(Bare { name, error: PhantomData }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verdict, A::Error> {
                if map.size_hint() == Some(0) {
                    return Err(Error::custom(
                        "there is nothing to do: expected one thing, such as { delay = \"300ms\" }",
                    ));
                }
                let verdict = Verdict::deserialize(MapAccessDeserializer::new(&mut map))?;
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(verdict),
                    Some(_) => Err(Error::custom("there is more than one thing to do: expected a fault for each")),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A name without a value.
struct Bare<'a, E> {
    name: &'a str,
    error: PhantomData<E>,
}

impl<E: Error> Bare<'_, E> {
    fn lacks_value(&self) -> E {
        E::custom(format!("{name} needs a value: expected {{ {name} = … }}", name = self.name))
    }
}

impl<'de, E: Error> EnumAccess<'de> for Bare<'_, E> {
    type Error = E;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), E> {
        Ok((seed.deserialize(self.name.into_deserializer())?, self))
    }
}

impl<'de, E: Error> VariantAccess<'de> for Bare<'_, E> {
    type Error = E;

    fn unit_variant(self) -> Result<(), E> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, E> {
        Err(self.lacks_value())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, E> {
        Err(self.lacks_value())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, E> {
        Err(self.lacks_value())
    }
}
