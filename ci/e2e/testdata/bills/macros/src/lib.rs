use proc_macro::TokenStream;

#[proc_macro]
pub fn answer(_: TokenStream) -> TokenStream {
    if unicode_ident::is_xid_start('a') { "42" } else { "0" }.parse().unwrap()
}
