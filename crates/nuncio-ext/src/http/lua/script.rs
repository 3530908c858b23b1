//! Scripts, and the virtual machine that each has on each worker.

use super::handle::PRELUDE;
use super::shared::Side;
use mlua::{Function, Lua};
use nuncio_core::{ConfigError, Worker};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{cell::RefCell, collections::HashMap, rc::Rc};

/// Numbers under which workers keep their machines.
static NUMBERS: AtomicUsize = AtomicUsize::new(0);

/// A script of the configuration.
#[derive(Debug)]
pub(super) struct Script {
    number: usize,
    text: String,
    /// Where modules are looked for, before the usual places.
    paths: String,
}

/// A script on one worker: its functions, and the state they share.
pub(super) struct Vm {
    pub(super) lua: Lua,
    on_request: Option<Function>,
    on_response: Option<Function>,
}

/// A worker's machines; none for a script that could not be loaded.
#[derive(Default)]
struct Vms(RefCell<HashMap<usize, Option<Rc<Vm>>>>);

/// The first line of an error, without its traceback.
pub(super) fn text_of(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::RuntimeError(message) => message.lines().next().unwrap_or_default().to_owned(),
        mlua::Error::CallbackError { cause, .. } => text_of(cause),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

impl Script {
    /// Reads a script without running it.
    pub(super) fn new(text: String, paths: &[String]) -> Result<Script, ConfigError> {
        let lua = Lua::new();
        lua.load(text.as_str()).set_name(text.as_str()).into_function().map_err(|error| {
            ConfigError::at("", format!("script load error: {}", text_of(&error)))
        })?;
        let paths = paths.iter().map(|path| format!("{path};")).collect();
        Ok(Script { number: NUMBERS.fetch_add(1, Ordering::Relaxed), text, paths })
    }

    /// The worker's machine, made on first use.
    pub(super) fn vm(&self, worker: &Worker) -> Option<Rc<Vm>> {
        let vms = worker.parts.get::<Vms>().unwrap_or_else(|| {
            let made = Rc::new(Vms::default());
            worker.parts.set(made.clone());
            made
        });
        if let Some(vm) = vms.0.borrow().get(&self.number) {
            return vm.clone();
        }
        let made = self.load().inspect_err(|error| log::error!(target: "lua", "script load error: {}", text_of(error))).ok();
        let made = made.map(Rc::new);
        vms.0.borrow_mut().insert(self.number, made.clone());
        made
    }

    fn load(&self) -> mlua::Result<Vm> {
        let lua = Lua::new();
        let prelude: mlua::Table = lua.load(include_str!("prelude.lua")).set_name("=prelude").eval()?;
        lua.set_named_registry_value(PRELUDE, prelude)?;
        if !self.paths.is_empty() {
            let package: mlua::Table = lua.globals().get("package")?;
            let usual: String = package.get("path")?;
            package.set("path", format!("{}{usual}", self.paths))?;
        }
        lua.load(self.text.as_str()).set_name(self.text.as_str()).exec()?;
        let function = |name: &str| lua.globals().get::<Option<Function>>(name);
        Ok(Vm { on_request: function("envoy_on_request")?, on_response: function("envoy_on_response")?, lua })
    }
}

impl Vm {
    /// What is called for a side, if the script has it.
    pub(super) fn function(&self, side: Side) -> Option<&Function> {
        match side {
            Side::Request => self.on_request.as_ref(),
            Side::Response => self.on_response.as_ref(),
        }
    }
}
