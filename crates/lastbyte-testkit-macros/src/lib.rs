//! `#[test]` for test binaries that run on `lastbyte-testkit`.

use proc_macro::{TokenStream, TokenTree};

/// Registers a function with the test binary's `lastbyte_testkit::main`.
///
/// It stands in for the compiler's attribute of the same name, which cannot report a
/// test as ignored once it runs.
#[proc_macro_attribute]
pub fn test(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    let Some(name) = name_of(&function) else {
        return "::core::compile_error!(\"#[test] belongs on a function\");"
            .parse()
            .expect("valid Rust");
    };
    let registration = format!(
        "::lastbyte_testkit::inventory::submit! {{
            ::lastbyte_testkit::Test::new(::core::module_path!(), \"{name}\", || {{
                ::lastbyte_testkit::Ended::into_result({name}())
            }})
        }}"
    );
    let registration: TokenStream = registration.parse().expect("valid Rust");
    [function, registration].into_iter().collect()
}

/// The identifier after the first `fn` outside of brackets.
fn name_of(function: &TokenStream) -> Option<String> {
    let mut tokens = function.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}
